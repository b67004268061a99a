"""What must not be sent, before the database says so."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from service.core.decisions import Hold
from service.dispatch.sending import holds as module
from service.dispatch.sending.holds import LocalHolds

SESSION, OTHER_SESSION = "5" * 24, "6" * 24
BROADCAST, OTHER_BROADCAST = "b" * 24, "c" * 24
NOW = 1_700_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "now_ms", clock)
    return clock


def test_nothing_is_held_at_first(clock: Clock) -> None:
    del clock
    assert LocalHolds().allow(SESSION, BROADCAST, NOW)


def test_nothing_of_a_held_session_may_be_sent(clock: Clock) -> None:
    del clock
    holds = LocalHolds()
    holds.add(Hold("Logged out.", session_id=SESSION))
    assert not holds.allow(SESSION, BROADCAST, NOW)
    assert not holds.allow(SESSION, OTHER_BROADCAST, NOW)
    assert holds.allow(OTHER_SESSION, BROADCAST, NOW)


def test_nothing_of_a_held_broadcast_may_be_sent(clock: Clock) -> None:
    del clock
    holds = LocalHolds()
    holds.add(Hold("Refused.", broadcast_id=BROADCAST))
    assert not holds.allow(SESSION, BROADCAST, NOW)
    assert holds.allow(SESSION, OTHER_BROADCAST, NOW)


@pytest.mark.parametrize("until", [None, NOW + 3_600_000])
def test_a_hold_is_left_to_the_database_five_seconds_after_its_commit(
    clock: Clock, until: int | None
) -> None:
    holds, hold = LocalHolds(), Hold("Logged out.", session_id=SESSION, until=until)
    holds.add(hold)
    clock.now = NOW + 60_000  # the database was out of reach
    assert not holds.allow(SESSION, BROADCAST, NOW)
    holds.committed([hold])
    clock.now += 4_999
    assert not holds.allow(SESSION, BROADCAST, NOW)
    clock.now += 1
    assert holds.allow(SESSION, BROADCAST, NOW)


def test_what_is_claimed_after_the_commit_is_left_to_the_database(clock: Clock) -> None:
    holds, hold = LocalHolds(), Hold("Logged out.", session_id=SESSION)
    holds.add(hold)
    assert not holds.allow(SESSION, BROADCAST, NOW + 1)
    holds.committed([hold])
    assert holds.allow(SESSION, BROADCAST, NOW + 1)
    clock.now += 1_000
    holds.add(hold)
    assert not holds.allow(SESSION, BROADCAST, NOW + 1)


def test_a_commit_does_not_lengthen_a_short_hold(clock: Clock) -> None:
    holds, hold = LocalHolds(), Hold("Slow down.", session_id=SESSION, until=NOW + 1_000)
    holds.add(hold)
    holds.committed([hold])
    clock.now = NOW + 1_000
    assert holds.allow(SESSION, BROADCAST, NOW)


def test_a_short_hold_is_over_when_it_says(clock: Clock) -> None:
    holds = LocalHolds()
    holds.add(Hold("Slow down.", session_id=SESSION, until=NOW + 1_000))
    clock.now = NOW + 999
    assert not holds.allow(SESSION, BROADCAST, NOW)
    clock.now = NOW + 1_000
    assert holds.allow(SESSION, BROADCAST, NOW)


def test_the_longest_of_several_holds_counts(clock: Clock) -> None:
    holds = LocalHolds()
    holds.add(Hold("Slow down.", session_id=SESSION, until=NOW + 3_000))
    holds.add(Hold("Slow down.", session_id=SESSION, until=NOW + 1_000))
    clock.now = NOW + 2_000
    assert not holds.allow(SESSION, BROADCAST, NOW)


def test_holds_that_have_ended_are_forgotten_whoever_they_were_of(clock: Clock) -> None:
    holds = LocalHolds()
    left = [Hold("Logged out.", session_id=f"{number:024}") for number in range(100)]
    for hold in left:
        holds.add(hold)
    holds.committed(left)
    holds.add(Hold("Slow down.", session_id=SESSION, until=NOW + 60_000))
    clock.now += 5_000
    assert len(holds.held) == 101
    assert holds.allow(OTHER_SESSION, OTHER_BROADCAST, NOW)
    assert [*holds.held] == [SESSION]
    clock.now += 55_000
    holds.add(Hold("Refused.", broadcast_id=BROADCAST))
    assert [*holds.held] == [BROADCAST]


def test_nothing_is_looked_through_while_nothing_has_ended(clock: Clock) -> None:
    """Each message that is sent asks."""
    del clock
    holds = LocalHolds()
    holds.add(Hold("Slow down.", session_id=SESSION, until=NOW + 1_000))
    holds.held = Unreadable(holds.held)
    assert not holds.allow(SESSION, BROADCAST, NOW)


class Unreadable(dict[str, Any]):
    """Holds that can be looked up and not gone through."""

    def items(self) -> NoReturn:
        raise AssertionError
