"""What providers answer, and what a status means by itself."""

from __future__ import annotations

import pytest

from service.channels import answers
from service.channels.answers import Answer, SuccessStreak, refusal
from service.channels.errors import (
    BlockedError,
    RequestError,
    RetryableError,
    SendError,
    UncertainError,
)

REFUSALS: list[tuple[int, type[SendError], float | None]] = [
    (200, UncertainError, None),
    (302, BlockedError, None),
    (400, RequestError, None),
    (401, BlockedError, None),
    (404, BlockedError, None),
    (408, RetryableError, 9.0),
    (413, RequestError, None),
    (429, BlockedError, 9.0),
    (500, UncertainError, None),
    (502, UncertainError, None),
    (503, RetryableError, 9.0),
    (504, UncertainError, None),
    (529, RetryableError, 9.0),
]


@pytest.mark.parametrize(("status", "kind", "wait"), REFUSALS)
def test_a_status_by_itself_has_a_meaning(
    status: int, kind: type[SendError], wait: float | None
) -> None:
    error = refusal(Answer(status, wait=9.0))

    assert type(error) is kind
    assert getattr(error, "wait", None) == wait
    assert error.code == f"http_{status}"


def test_a_throttled_session_rests_a_minute_where_nobody_says_how_long() -> None:
    error = refusal(Answer(429))

    assert isinstance(error, BlockedError)
    assert error.wait == 60.0


def test_the_providers_own_words_are_the_reason() -> None:
    assert refusal(Answer(404), "No such number.").reason == "No such number."
    assert "credentials" in refusal(Answer(404)).reason


def test_a_header_is_found_whatever_its_case() -> None:
    answer = Answer(200, lines=(b"HTTP/1.1 200 OK\r\n", b"X-Odd:  yes \r\n", b"\r\n"))

    assert (answer.header("x-odd"), answer.header("X-Odd")) == ("yes", "yes")
    assert answer.header("X-Absent") == ""


@pytest.mark.parametrize("break_off", [lambda s: s.answered(accepted=False), SuccessStreak.broken])
def test_a_streak_is_long_after_many_good_answers_in_a_row(
    monkeypatch: pytest.MonkeyPatch, break_off: object
) -> None:
    monkeypatch.setattr(answers, "STREAK", 3)
    assert callable(break_off)
    streak, seen = SuccessStreak(), []
    for turn in range(8):
        streak.answered(accepted=True)
        seen.append(streak.is_long)
        if turn == 3:
            break_off(streak)
            seen.append(streak.is_long)
    assert seen == [False, False, True, True, False, False, False, True, True]
