"""What tells a repeat of a request from another one."""

from __future__ import annotations

from typing import Any

import pytest

from service.core import fingerprints

ORDER = {"to": "12025550110", "message": {"text": "Hello", "attachments": []}, "send_at": None}


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": "crier_x"},
        {"send_at": ""},
        {"session_id": ""},
        {"message": {"text": "Hello"}},
        {"message": {"contactId": "", "text": "Hello"}},
    ],
)
def test_what_says_nothing_makes_no_difference(changes: dict[str, Any]) -> None:
    assert compared(changes) == []


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"send_at": "2030-01-01T00:00:00Z"}, ["send_at"]),
        ({"to": ["12025550110"]}, ["to"]),
        ({"message": {"text": "Bye"}}, ["message.text"]),
        ({"message": {"location": {"lat": 1}}}, ["message.location", "message.text"]),
        ({"to": "", "session_id": "a"}, ["session_id", "to"]),
    ],
)
def test_what_differs_is_named(changes: dict[str, Any], fields: list[str]) -> None:
    assert compared(changes) == fields


def test_of_what_was_stored_by_an_older_version_only_the_whole_is_compared() -> None:
    taken = fingerprints.take(ORDER)
    whole = taken.partition(" ")[0]
    assert fingerprints.differences(whole, taken) == []
    assert fingerprints.differences("0" * 64, taken) == [fingerprints.UNKNOWN]


def compared(changes: dict[str, Any]) -> list[str]:
    return fingerprints.differences(
        fingerprints.take(ORDER), fingerprints.take({**ORDER, **changes})
    )
