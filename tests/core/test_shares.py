"""Even shares by client and then by session."""

from __future__ import annotations

import pytest

from service.core.shares import among_sessions, even


@pytest.mark.parametrize(
    ("wanted", "room", "expected"),
    [
        ({"a": 10, "b": 10}, 10, {"a": 5, "b": 5}),
        ({"a": 2, "b": 10}, 10, {"a": 2, "b": 8}),
        ({"a": 9, "b": 9, "c": 9}, 10, {"a": 4, "b": 3, "c": 3}),
        ({"a": 9, "b": 9}, 1, {"a": 1, "b": 0}),
        ({"a": 2, "b": 3}, 100, {"a": 2, "b": 3}),
        ({}, 10, {}),
    ],
)
def test_what_one_leaves_goes_to_the_others(
    wanted: dict[str, int], room: int, expected: dict[str, int]
) -> None:
    assert even(wanted, room) == expected


def test_clients_share_first_and_then_their_sessions() -> None:
    owners = [("a", "a1"), ("a", "a2"), ("b", "b1")]
    assert among_sessions(owners, 8) == {"a1": 2, "a2": 2, "b1": 4}
    assert among_sessions(owners, 2) == {"a1": 1, "a2": 0, "b1": 1}
    assert among_sessions([], 8) == {}
