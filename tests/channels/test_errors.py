"""Meta's codes in one table: the same meaning in an answer and in a webhook."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from service.channels.answers import Answer
from service.channels.drivers.whatsapp_cloud.errors import REASONS, VERDICTS, refused, reported
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UnknownCodeError,
)

HOUR, DAY = 3_600.0, 86_400.0


class Meaning(NamedTuple):
    """What a code has to mean, and the seconds to wait where nobody says how long."""

    code: int
    kind: type[SendError]
    wait: float | None = None


MEANINGS = [
    Meaning(4, BlockedError, 60.0),
    Meaning(80007, BlockedError, 60.0),
    Meaning(130429, BlockedError, 60.0),
    Meaning(131048, BlockedError, 60.0),
    Meaning(131064, BlockedError, HOUR),
    Meaning(131049, RetryableError, DAY),
    Meaning(131056, RetryableError, 6.0),
    Meaning(132069, RetryableError, HOUR),
    Meaning(1, RetryableError, 0.0),
    Meaning(131000, RetryableError, 0.0),
    Meaning(131016, RetryableError, 0.0),
    Meaning(131053, RetryableError, 0.0),
    Meaning(135000, RetryableError, 0.0),
    Meaning(131026, PermanentError),
    Meaning(131047, PermanentError),
    Meaning(131050, PermanentError),
    Meaning(131062, PermanentError),
    Meaning(137000, PermanentError),
    Meaning(131020, PermanentError),
    Meaning(131041, PermanentError),
    Meaning(131201, PermanentError),
    Meaning(131207, PermanentError),
    Meaning(131208, PermanentError),
    Meaning(100, RequestError),
    Meaning(131063, RequestError),
    Meaning(132001, RequestError),
    Meaning(132018, RequestError),
    Meaning(132068, RequestError),
    Meaning(139200, RequestError),
    Meaning(0, BlockedError),
    Meaning(190, BlockedError),
    Meaning(131031, BlockedError),
    Meaning(131042, BlockedError),
    Meaning(133016, BlockedError),
    Meaning(987654, UnknownCodeError),
]


def error(code: object, **more: Any) -> dict[str, Any]:
    return {"code": code, "title": "Meta's title", "message": "Meta's words", **more}


def answer(code: object, *headers: str, status: int = 400, wait: float = 0.0) -> Answer:
    body = json.dumps({"error": error(code)}).encode()
    return Answer(status, body, wait, tuple(header.encode() for header in headers))


def assert_means(said: SendError, meaning: Meaning) -> None:
    assert type(said) is meaning.kind
    assert getattr(said, "wait", None) == meaning.wait
    assert said.code == str(meaning.code)
    assert "Meta's words" in said.reason


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: str(meaning.code))
def test_a_code_means_the_same_in_an_answer_and_in_a_webhook(meaning: Meaning) -> None:
    assert_means(refused(answer(meaning.code)), meaning)
    assert_means(reported([error(meaning.code)]), meaning)


def test_every_reason_is_that_of_a_code_of_the_table() -> None:
    assert REASONS.keys() <= VERDICTS.keys()


@pytest.mark.parametrize("code", [130429, 131064, 131042, 133016])
def test_a_hold_that_meta_dates_lasts_so_long(code: int) -> None:
    assert getattr(refused(answer(code, wait=7_200.0)), "wait", None) == 7_200.0
    usage = 'X-Business-Use-Case-Usage: {"1":[{"estimated_time_to_regain_access":120}]}'
    assert getattr(refused(answer(code, usage)), "wait", None) == 7_200.0


def test_only_who_opted_out_is_an_opt_out() -> None:
    stopped, gone = reported([error(131050)]), reported([error(131026)])
    assert isinstance(stopped, PermanentError)
    assert isinstance(gone, PermanentError)
    assert (stopped.opted_out, gone.opted_out) == (True, False)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], "no_code"),
        ([{}], "no_code"),
        ([error(None)], "no_code"),
        ([error([])], "no_code"),
        ([error("soon")], "no_code"),
        ([error("131026")], "131026"),
        ([error(131026, error_data="words")], "131026"),
        ([error(131026, error_data=7)], "131026"),
        ([error(131026), error(190)], "131026"),
    ],
)
def test_an_error_in_an_odd_form_is_still_one(errors: list[dict[str, Any]], code: str) -> None:
    said = reported(errors)
    assert isinstance(said, PermanentError)
    assert said.code == code
    assert said.reason
