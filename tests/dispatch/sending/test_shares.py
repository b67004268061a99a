"""How many deliveries of each broadcast one claim takes."""

from __future__ import annotations

import pytest

from service.core.deliveries.claims import Active
from service.dispatch.sending import pacing
from service.dispatch.sending.pacing import Slots
from service.dispatch.sending.shares import SlotsTaken, divide

SECOND = 1_000_000


def active(broadcast_id: str, session_id: str = "s", parts: int = 1, client: str = "m") -> Active:
    return Active(broadcast_id, parts, 0, session_id, 1, 0, client)


ONE, TWO, THREE = active("a"), active("b"), active("c")
ELSEWHERE = active("x", "other")


@pytest.mark.parametrize(
    ("actives", "wanted", "room", "expected"),
    [
        ([ONE], {"s": 10}, 100, {"a": 10}),
        ([ONE], {"s": 100}, 10, {"a": 10}),
        ([ONE, TWO, THREE], {"s": 100}, 100, {"a": 34, "b": 33, "c": 33}),
        ([ONE, TWO, THREE], {"s": 2}, 100, {"a": 1, "b": 1, "c": 0}),
        ([ONE, TWO, ELSEWHERE], {"s": 100, "other": 100}, 100, {"a": 25, "b": 25, "x": 50}),
        ([ONE, ELSEWHERE], {"s": 8, "other": 1000}, 100, {"a": 8, "x": 92}),
        ([ONE, ELSEWHERE], {"s": 1000, "other": 8}, 100, {"a": 92, "x": 8}),
    ],
)
def test_room_is_divided_among_sessions_and_then_among_their_broadcasts(
    actives: list[Active], wanted: dict[str, int], room: int, expected: dict[str, int]
) -> None:
    assert divide(actives, wanted, {"m": 1_000}, room) == expected


@pytest.mark.parametrize("room", [0, 1, 7, 100])
def test_never_more_is_given_than_there_is(room: int) -> None:
    actives = [active(str(number), f"s{number % 3}") for number in range(10)]
    wanted = {"s0": 5, "s1": 50, "s2": 500}
    shares = divide(actives, wanted, {"m": 1_000}, room)
    assert sum(shares.values()) == min(room, 555)


OF_ANOTHER = active("y", "another", client="n")


@pytest.mark.parametrize(
    ("wanted", "rooms", "expected"),
    [
        ({"s": 100, "other": 100, "another": 100}, {}, {"a": 13, "b": 12, "x": 25, "y": 50}),
        ({"s": 100, "other": 100, "another": 10}, {}, {"a": 23, "b": 22, "x": 45, "y": 10}),
        ({"s": 4, "other": 4, "another": 100}, {}, {"a": 2, "b": 2, "x": 4, "y": 92}),
        ({"s": 100, "other": 100, "another": 100}, {"m": 8}, {"a": 2, "b": 2, "x": 4, "y": 92}),
        ({"s": 100, "other": 100, "another": 100}, {"m": 0}, {"a": 0, "b": 0, "x": 0, "y": 100}),
    ],
)
def test_room_is_divided_among_clients_first(
    wanted: dict[str, int], rooms: dict[str, int], expected: dict[str, int]
) -> None:
    actives, most = [ONE, TWO, ELSEWHERE, OF_ANOTHER], {"m": 1_000, "n": 1_000, **rooms}
    assert divide(actives, wanted, most, 100) == expected


def slots(free: int) -> SlotsTaken:
    return SlotsTaken({"s": Slots(first=SECOND, interval=10, free=free)})


def test_a_session_without_a_rate_has_no_slots() -> None:
    taken = SlotsTaken({})
    assert taken.limit([ONE], {"a": 7}) == {"a": 7}
    assert taken.take(ONE) == (0, 0)
    assert taken.spoken_for() == taken.next_looks() == {}


def test_a_paced_session_gives_no_more_than_its_slots() -> None:
    assert slots(5).limit([ONE], {"a": 100}) == {"a": 5}
    assert slots(5).limit([ONE], {"a": 3}) == {"a": 3}
    assert slots(0).limit([ONE], {"a": 3}) == {}


def test_every_part_takes_a_slot_and_the_last_delivery_may_begin() -> None:
    assert slots(5).limit([active("a", parts=3)], {"a": 100}) == {"a": 2}


def test_broadcasts_of_one_session_share_its_slots() -> None:
    assert slots(5).limit([ONE, TWO], {"a": 3, "b": 3}) == {"a": 3, "b": 2}


def test_the_slots_taken_follow_each_other_and_are_spoken_for() -> None:
    taken = slots(100)
    message = active("a", parts=2)
    taken.limit([message], {"a": 3})
    assert [taken.take(message) for _ in range(2)] == [(SECOND, 10), (SECOND + 20, 10)]
    assert taken.spoken_for() == {"s": SECOND + 40}


def test_a_session_that_gave_all_its_slots_is_looked_at_when_there_are_some_again() -> None:
    taken = slots(2)
    taken.limit([ONE], {"a": 100})
    for _ in range(2):
        taken.take(ONE)
    assert taken.next_looks() == {"s": pacing.next_look(SECOND + 20)}


def test_a_session_that_has_slots_left_may_be_looked_at_any_time() -> None:
    taken = slots(100)
    taken.limit([ONE], {"a": 3})
    assert taken.next_looks() == {}
