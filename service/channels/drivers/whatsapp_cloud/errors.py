"""The meaning of Meta's error codes.

https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from service.channels.answers import DEFAULT_HOLD, Answer, read, refusal
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    TemplateError,
    UncertainError,
    UnknownCodeError,
)


class Meaning(Enum):
    """What a code means for the delivery."""

    THROTTLED = "the account sends too fast and must wait"
    RECIPIENT_THROTTLED = "this recipient gets too many messages and must wait"
    TRANSIENT = "a temporary error at Meta"
    RECIPIENT = "this recipient cannot be reached"
    REQUEST = "the message is refused for every recipient"
    TEMPLATE = "the template cannot be used until Meta says that it can"
    ACCOUNT = "the account cannot send until somebody fixes it"
    UNKNOWN = "the code is not in this table"


_CODES: Final[dict[Meaning, tuple[int, ...]]] = {
    Meaning.THROTTLED: (4, 80007, 130429, 131048, 131064),
    Meaning.RECIPIENT_THROTTLED: (131049, 131056, 132069),
    Meaning.TRANSIENT: (1, 2, 131000, 131016, 131053, 131057, 133004, 135000),
    Meaning.RECIPIENT: (
        *(130472, 130497, 131021, 131026, 131030, 131047, 131050, 131062, 137000),
        *(131020, 131041, 131201, 131207, 131208),  # groups
    ),
    Meaning.REQUEST: (
        *(100, 131008, 131009, 131051, 131063, *range(132000, 132015), 132018, 132068),
        139200,  # Direct Send is blocked; other messages still work
    ),
    Meaning.TEMPLATE: (132015, 132016),
    Meaning.ACCOUNT: (
        *(0, 3, 10, 33, 104, 190, *range(200, 300), 368, 803),
        *(131005, 131031, 131037, 131042, 131045, 133010, 133016),
    ),
}
"""Meta recommends using the code, not the HTTP status."""

VERDICTS: Final = {code: decision for decision, codes in _CODES.items() for code in codes}

WAITS: Final = {131056: 6.0, 131049: 86_400.0, 132069: 3_600.0, 131064: 3_600.0}
"""Seconds to wait if Meta does not say how long. The pair rate is one message per 6 s; the limit on
marketing messages to a person lasts about a day."""

REASONS: Final = {
    4: "The app has reached its limit of calls.",
    190: "The access token is no longer valid.",
    80007: "The WhatsApp Business Account has reached its rate limit.",
    130429: "The number sends faster than Meta allows.",
    131026: "This number is not on WhatsApp, or cannot be reached there.",
    131031: "Meta has locked the account.",
    131042: "The account's payment method does not work.",
    131047: "More than 24 hours since this person wrote: only a template may be sent.",
    131048: "Meta limits the number: too many of its messages were reported as spam.",
    131049: "Meta did not deliver this: the person gets too many marketing messages.",
    131050: "This person does not want marketing messages from this account.",
    131056: "Too many messages to this number in a short time.",
    131062: "This type of message can only be sent to a phone number, not to a user id.",
    131063: "Marketing templates are switched off for the Cloud API on this account.",
    131064: "Meta limits the account: too many of its templates had the wrong category.",
    132068: "Meta has blocked the flow in this message.",
    132069: "Meta has throttled the flow in this message.",
    133010: "The number is not registered with the Cloud API.",
    133016: "The number was registered and deregistered too often.",
    137000: "The identity of this person has changed and is not confirmed.",
    139200: "Meta has blocked Direct Send for this account.",
}
"""Explanations of codes for which Meta's own message is too short."""

OPTED_OUT: Final = 131050

_WRONG_NODE: Final = 33
"""The subcode of 100 for a phone number id that this token cannot see."""

_NO_ERROR: Final = {"message": "Meta gave no reason."}


class MediaGoneError(RequestError):
    """Meta no longer knows the media id in the message."""


def refused(answer: Answer, media_id: str = "") -> SendError:
    """Return the error of a refusing answer. `media_id` is the one in the message."""
    body = read(answer.body)
    error = body.get("error")
    if "messages" in body:
        reason = f"Meta's answer has a message id, but status {answer.status}."
        return UncertainError(reason, code="contradiction")
    if not isinstance(error, dict) or _code(error) is None:
        return refusal(answer)
    meant = meaning(error, status=answer.status, wait=_wait(answer))
    is_of_message = isinstance(meant, RequestError | UnknownCodeError)
    if media_id and is_of_message and "media" in meant.reason.lower():
        return MediaGoneError(meant.reason, code=meant.code)
    return meant


def reported(errors: Sequence[Mapping[str, Any]]) -> SendError:
    """Return the error of a status in a webhook: the first one counts."""
    return meaning(errors[0] if errors else _NO_ERROR)


def meaning(error: Mapping[str, Any], *, status: int = 0, wait: float = 0.0) -> SendError:
    """Return the meaning of one of Meta's errors, from an answer or a webhook.

    `status` is that of the answer, 0 in a webhook. `wait` is Meta's wait in seconds, if any.
    """
    number = _code(error)
    reason, code = describe(error), "no_code" if number is None else str(number)
    at_least = max(wait, WAITS.get(number or 0, 0.0))
    match _meaning(error, status):
        case Meaning.TRANSIENT | Meaning.RECIPIENT_THROTTLED:
            return RetryableError(reason, code=code, wait=at_least)
        case Meaning.THROTTLED:
            return BlockedError(reason, code=code, wait=at_least or DEFAULT_HOLD)
        case Meaning.ACCOUNT:
            return BlockedError(reason, code=code, wait=wait or None)
        case Meaning.RECIPIENT:
            return PermanentError(reason, code=code, opted_out=number == OPTED_OUT)
        case Meaning.REQUEST | Meaning.TEMPLATE as meant:
            kind = TemplateError if meant is Meaning.TEMPLATE else RequestError
            return kind(reason, code=code)
        case Meaning.UNKNOWN:
            return UnknownCodeError(reason, code=code)


def describe(error: Mapping[str, Any]) -> str:
    """Return the reason of an error: our explanation, if any, and Meta's details."""
    data = error.get("error_data")
    details = data.get("details") if isinstance(data, dict) else data
    said = str(details or error.get("message") or error.get("title") or _NO_ERROR["message"])
    ours = REASONS.get(_code(error) or -1)
    return f"{ours} ({said})" if ours else said


def _code(error: Mapping[str, Any]) -> int | None:
    code = error.get("code")
    if isinstance(code, str) and code.isascii() and code.isdecimal():
        return int(code[:9])
    return code if isinstance(code, int) else None


def _meaning(error: Mapping[str, Any], status: int) -> Meaning:
    if error.get("error_subcode") == _WRONG_NODE:
        return Meaning.ACCOUNT
    if (code := _code(error)) in VERDICTS:
        return VERDICTS[code or 0]
    if error.get("is_transient") or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Meaning.TRANSIENT
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Meaning.ACCOUNT
    return Meaning.THROTTLED if status == HTTPStatus.TOO_MANY_REQUESTS else Meaning.UNKNOWN


def _wait(answer: Answer) -> float:
    """Return the seconds that Meta wants us to wait, 0 if it does not say.

    https://developers.facebook.com/docs/graph-api/overview/rate-limiting#headers-2
    """
    usage = read(answer.header("X-Business-Use-Case-Usage").encode())
    try:
        minutes = [float(case.get(_REGAIN) or 0) for cases in usage.values() for case in cases]
    except (AttributeError, TypeError, ValueError):
        minutes = []
    return max(answer.wait, 60.0 * max(minutes, default=0.0))


_REGAIN: Final = "estimated_time_to_regain_access"
