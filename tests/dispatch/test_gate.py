"""What must not be sent, before the database says so."""

from __future__ import annotations

import pytest

from service.core.verdicts import Hold
from service.dispatch import gate as module
from service.dispatch.gate import Gate

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


def test_everything_passes_a_new_gate(clock: Clock) -> None:
    del clock
    assert Gate().is_open(SESSION, BROADCAST)


def test_nothing_of_a_held_session_passes(clock: Clock) -> None:
    del clock
    gate = Gate()
    gate.shut(Hold("Logged out.", session_id=SESSION))
    assert not gate.is_open(SESSION, BROADCAST)
    assert not gate.is_open(SESSION, OTHER_BROADCAST)
    assert gate.is_open(OTHER_SESSION, BROADCAST)


def test_nothing_of_a_held_broadcast_passes(clock: Clock) -> None:
    del clock
    gate = Gate()
    gate.shut(Hold("Refused.", broadcast_id=BROADCAST))
    assert not gate.is_open(SESSION, BROADCAST)
    assert gate.is_open(SESSION, OTHER_BROADCAST)


def test_a_hold_without_an_end_is_left_to_the_database_after_five_seconds(clock: Clock) -> None:
    gate = Gate()
    gate.shut(Hold("Logged out.", session_id=SESSION))
    clock.now = NOW + 4_999
    assert not gate.is_open(SESSION, BROADCAST)
    clock.now = NOW + 5_000
    assert gate.is_open(SESSION, BROADCAST)


def test_a_hold_with_a_far_end_is_left_to_the_database_as_well(clock: Clock) -> None:
    gate = Gate()
    gate.shut(Hold("Slow down.", session_id=SESSION, until=NOW + 3_600_000))
    clock.now = NOW + 5_000
    assert gate.is_open(SESSION, BROADCAST)


def test_a_short_hold_is_over_when_it_says(clock: Clock) -> None:
    gate = Gate()
    gate.shut(Hold("Slow down.", session_id=SESSION, until=NOW + 1_000))
    clock.now = NOW + 999
    assert not gate.is_open(SESSION, BROADCAST)
    clock.now = NOW + 1_000
    assert gate.is_open(SESSION, BROADCAST)


def test_the_longest_of_several_holds_counts(clock: Clock) -> None:
    gate = Gate()
    gate.shut(Hold("Slow down.", session_id=SESSION, until=NOW + 3_000))
    gate.shut(Hold("Slow down.", session_id=SESSION, until=NOW + 1_000))
    clock.now = NOW + 2_000
    assert not gate.is_open(SESSION, BROADCAST)
