"""What Meta's error codes mean.

https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from service.channels.answers import Answer
from service.channels.base import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UncertainError,
)
from service.channels.drivers.whatsapp_cloud.rendering import read
from service.channels.http import DEFAULT_HOLD, refusal


class Verdict(Enum):
    """What a code is about."""

    THROTTLED = "the account sends too fast: it rests"
    RECIPIENT_THROTTLED = "this recipient gets too much: it alone waits"
    TRANSIENT = "a passing fault of Meta's"
    RECIPIENT = "this recipient cannot be reached"
    REQUEST = "the message is refused, for everybody alike"
    ACCOUNT = "the account cannot send until somebody mends it"


_CODES: Final[dict[Verdict, tuple[int, ...]]] = {
    Verdict.THROTTLED: (4, 80007, 130429, 131048),
    Verdict.RECIPIENT_THROTTLED: (131049, 131056),
    Verdict.TRANSIENT: (1, 2, 131000, 131016, 131053, 131057, 133004),
    Verdict.RECIPIENT: (130472, 130497, 131021, 131026, 131030, 131047, 131050),
    Verdict.REQUEST: (100, 131008, 131009, 131051, *range(132000, 132017)),
    Verdict.ACCOUNT: (
        *(0, 3, 10, 33, 104, 190, *range(200, 300), 368, 803),
        *(131005, 131031, 131037, 131042, 131045, 133010),
    ),
}
"""Meta says to go by the code and not by the HTTP status."""

VERDICTS: Final = {code: verdict for verdict, codes in _CODES.items() for code in codes}

WAITS: Final = {131056: 6.0, 131049: 86_400.0}
"""Seconds until the same recipient may be written to again: the pair rate is one message in 6 s;
the limit on marketing messages to one person is about a day."""

REASONS: Final = {
    4: "The app has reached its limit of calls.",
    190: "The access token is not valid any more.",
    80007: "The WhatsApp Business Account has reached its rate limit.",
    130429: "The number sends faster than Meta allows it.",
    131026: "This number is not on WhatsApp, or cannot be reached there.",
    131031: "Meta has locked the account.",
    131042: "The account's payment method does not work.",
    131047: "More than 24 hours since this person wrote: only a template may be sent.",
    131048: "Meta holds the number back: too many of its messages were reported as spam.",
    131049: "Meta holds this back: the person gets too many marketing messages.",
    131050: "This person does not want marketing messages from this account.",
    131056: "Too many messages to this number in a short time.",
    133010: "The number is not registered with the Cloud API.",
}
"""What a code means for the sender of the broadcast, where Meta's own words are terse."""

OPTED_OUT: Final = 131050

_WRONG_NODE: Final = 33
"""The subcode of 100 for a phone number id that does not exist, or not for this token."""


class MediaGoneError(RequestError):
    """The media id in the message means nothing to Meta any more."""


def refused(answer: Answer, media_id: str = "") -> SendError:
    """Return what an answer means that accepted nothing; `media_id` is what the message used."""
    body = read(answer.body)
    error = body.get("error")
    if "messages" in body:
        reason = f"Meta's answer contradicts itself: a message, but status {answer.status}."
        return UncertainError(reason, code="contradiction")
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        return refusal(answer)
    number, reason, code = error["code"], describe(error), str(error["code"])
    verdict = _verdict(error, answer.status)
    if verdict in {Verdict.TRANSIENT, Verdict.RECIPIENT_THROTTLED}:
        wait = max(answer.wait, WAITS.get(number, 0.0))
        return RetryableError(reason, code=code, wait=wait)
    if verdict in {Verdict.THROTTLED, Verdict.ACCOUNT}:
        wait_or_not = _hold(answer) if verdict is Verdict.THROTTLED else None
        return BlockedError(reason, code=code, wait=wait_or_not)
    if verdict is Verdict.RECIPIENT:
        return PermanentError(reason, code=code, opted_out=number == OPTED_OUT)
    is_gone = media_id and "media" in reason.lower()
    return (MediaGoneError if is_gone else RequestError)(reason, code=code)


def describe(error: Mapping[str, Any]) -> str:
    """Return an error's reason, in our words where we have some, with Meta's details."""
    data = error.get("error_data")
    details = data.get("details") if isinstance(data, dict) else data
    said = str(details or error.get("message") or error.get("title") or "Meta gave no reason.")
    ours = REASONS.get(error.get("code", -1))
    return f"{ours} ({said})" if ours else said


def _verdict(error: Mapping[str, Any], status: int) -> Verdict:
    if error.get("error_subcode") == _WRONG_NODE:
        return Verdict.ACCOUNT
    if error["code"] in VERDICTS:
        return VERDICTS[error["code"]]
    if error.get("is_transient") or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Verdict.TRANSIENT
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Verdict.ACCOUNT
    return Verdict.THROTTLED if status == HTTPStatus.TOO_MANY_REQUESTS else Verdict.REQUEST


def _hold(answer: Answer) -> float:
    """Return for how many seconds a throttled account rests, as far as Meta said it.

    https://developers.facebook.com/docs/graph-api/overview/rate-limiting#headers-2
    """
    usage = read(answer.header("X-Business-Use-Case-Usage").encode())
    try:
        minutes = [float(case.get(_REGAIN) or 0) for cases in usage.values() for case in cases]
    except (AttributeError, TypeError, ValueError):
        minutes = []
    return max(answer.wait, 60.0 * max(minutes, default=0.0)) or DEFAULT_HOLD


_REGAIN: Final = "estimated_time_to_regain_access"
