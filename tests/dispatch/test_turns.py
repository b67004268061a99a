"""The order in which broadcasts take part in claims."""

from __future__ import annotations

from collections import Counter

from service.core.deliveries.claims import Active
from service.dispatch.turns import Turns


def actives(client: str, sessions: int, broadcasts: int) -> list[Active]:
    return [
        Active(f"{client}{session}{number:03}", 1, 0, f"{client}{session}", 1, 0, client)
        for session in range(sessions)
        for number in range(broadcasts)
    ]


def choose(turns: Turns, listed: list[Active], most: int = 4) -> list[str]:
    return [each.broadcast_id for each in turns.choose(listed, most, lambda _: True)]


def test_clients_take_turns_then_sessions_then_broadcasts() -> None:
    listed = [*actives("a", 2, 9), *actives("b", 1, 9)]
    assert choose(Turns(), listed, 8) == [
        *("a0000", "b0000", "a1000", "b0001"),
        *("a0001", "b0002", "a1001", "b0003"),
    ]


def test_a_client_alone_has_all_turns() -> None:
    assert choose(Turns(), actives("a", 1, 9)) == ["a0000", "a0001", "a0002", "a0003"]


def test_whoever_was_served_longest_ago_goes_first() -> None:
    turns, listed = Turns(), [each for name in "abcdef" for each in actives(name, 1, 1)]
    served = [name for _ in range(3) for name in choose(turns, listed)]
    assert Counter(served) == {f"{name}0000": 2 for name in "abcdef"}
    of_one = actives("a", 6, 1)
    turns = Turns()
    served = [name for _ in range(3) for name in choose(turns, of_one)]
    assert Counter(served) == {each.broadcast_id: 2 for each in of_one}


def test_what_may_not_be_claimed_takes_no_turn() -> None:
    listed = actives("a", 3, 2)
    chosen = Turns().choose(listed, 2, lambda each: each.session_id == "a2")
    assert chosen == listed[4:]


def test_a_cursor_stands_at_the_last_broadcast_of_a_session_that_has_more() -> None:
    turns = Turns()
    choose(turns, [*actives("a", 1, 9), *actives("b", 1, 2)])
    assert turns.cursors == {"a0": "a0001"}
    choose(turns, actives("a", 1, 9)[2:5])
    assert turns.cursors == {}


def test_a_session_that_may_not_claim_keeps_its_cursor_until_it_has_nothing_left() -> None:
    turns = Turns()
    choose(turns, actives("a", 1, 9))
    turns.choose(actives("a", 1, 9)[4:], 4, lambda _: False)
    assert turns.cursors == {"a0": "a0003"}
    choose(turns, actives("b", 1, 1))
    assert turns.cursors == {}


def test_a_restart_forgets_all_cursors() -> None:
    turns = Turns()
    choose(turns, actives("a", 1, 9))
    turns.restart()
    assert turns.cursors == {}
