"""Codes that nobody knows: one person's matter, or everybody's."""

from __future__ import annotations

import pytest

from service.core.decisions import Decision
from service.core.deliveries.transitions import Outcome
from service.dispatch.sending.streaks import Streaks
from service.models import DeliveryStatus

BROADCAST, OTHER = "b" * 18 + "0" * 6, "c" * 18 + "0" * 6


def refused(recipient: str, code: str = "987654", broadcast_id: str = BROADCAST) -> Decision:
    delivery_id = f"{broadcast_id[:18]}000001"
    outcome = Outcome(delivery_id, DeliveryStatus.FAILED, 1, 0, 0, None, code, "Meta's words.")
    return Decision(outcome, recipient=recipient, is_unknown=True)


@pytest.fixture
def streaks() -> Streaks:
    return Streaks()


def pauses(streaks: Streaks, *decisions: Decision) -> list[bool]:
    return [streaks.weigh(decision).hold is not None for decision in decisions]


def test_the_third_person_in_a_row_pauses_the_broadcast(streaks: Streaks) -> None:
    for name in ("ada", "grace"):
        assert streaks.weigh(refused(name)).hold is None
    hold = streaks.weigh(refused("joan")).hold
    assert hold
    assert (hold.broadcast_id, hold.session_id) == (BROADCAST, None)
    assert "987654" in hold.reason
    assert "Meta's words." in hold.reason


def test_after_the_pause_the_count_begins_anew(streaks: Streaks) -> None:
    names = ("ada", "grace", "joan") * 2
    assert pauses(streaks, *map(refused, names)) == [False, False, True] * 2


def test_one_person_is_counted_once(streaks: Streaks) -> None:
    assert pauses(streaks, *[refused("ada")] * 5) == [False] * 5


def test_somebody_who_gets_the_message_ends_the_row(streaks: Streaks) -> None:
    pauses(streaks, refused("ada"), refused("grace"))
    streaks.end(BROADCAST)
    assert pauses(streaks, refused("joan"), refused("mary")) == [False, False]


def test_another_code_begins_another_row(streaks: Streaks) -> None:
    codes = ("1", "1", "2", "2", "2")
    decisions = [refused(str(place), code) for place, code in enumerate(codes)]
    assert pauses(streaks, *decisions) == [False, False, False, False, True]


def test_broadcasts_are_counted_apart(streaks: Streaks) -> None:
    decisions = [refused(name, "1", each) for name in "ab" for each in (BROADCAST, OTHER)]
    assert pauses(streaks, *decisions) == [False] * 4


def test_a_known_code_is_nobodys_riddle(streaks: Streaks) -> None:
    known = [refused(name)._replace(is_unknown=False) for name in "abcd"]
    assert pauses(streaks, *known) == [False] * 4


def test_the_memory_is_bounded(streaks: Streaks) -> None:
    for number in range(3_000):
        streaks.weigh(refused("ada", broadcast_id=f"{number:018}000000"))
    assert len(streaks.known) <= 1_000
