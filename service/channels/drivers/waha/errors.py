"""The meaning of WAHA's errors and failed messages."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from service.channels.answers import Answer, read, refusal
from service.channels.drivers.waha.restrictions import restricted
from service.channels.errors import BlockedError, PermanentError, RetryableError, SendError

STATUSES: Final = {
    "STOPPED": "The WAHA session is stopped; start it.",
    "STARTING": "The WAHA session is starting.",
    "SCAN_QR_CODE": "The WAHA session is not linked; scan its QR code with the phone.",
    "PASSKEY_REQUIRED": "The WAHA session wants the phone's passkey.",
    "PASSKEY_CONFIRMATION_REQUIRED": "The WAHA session wants the passkey confirmed.",
    "FAILED": "The WAHA session has failed; restart it or link the phone again.",
}
"""Statuses in which a session cannot send, with the reason."""

WORKING: Final = "WORKING"
"""The status of a session that can send."""

STARTING_TIME: Final = 10.0
"""Seconds until a starting session is checked again."""

_RESTRICTED: Final = re.compile(r"\berror:? 463\b")
"""Engine messages for a number that WhatsApp has restricted."""

_NOT_ON_WHATSAPP: Final = "No LID for user"
"""WEBJS's message for a recipient who is not on WhatsApp."""

_ERROR: Final = -1
"""The acknowledgement of a message that failed."""


def not_working(status: str) -> BlockedError:
    """Return why a session in this status cannot send."""
    reason = STATUSES.get(status, f"The WAHA session is {status[:40]}.")
    wait = STARTING_TIME if status == "STARTING" else None
    return BlockedError(reason, code=status[:40].lower(), wait=wait)


def refused(answer: Answer) -> SendError:
    """Return the error of a refusing answer."""
    said = read(answer.body)
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and "expected" in said:
        return not_working(str(said.get("status")))
    exception = said.get("exception")
    words = str((exception if isinstance(exception, dict) else said).get("message") or "")
    return _of_engine(words) or refusal(answer, f"WAHA: {words}" if words else "")


def failed(message: Mapping[str, Any]) -> SendError | None:
    """Return why an accepted message failed, None if WAHA reports no failure.

    It reads both answers with status 201 and acknowledgements in webhooks.
    """
    states = (message.get("ackName"), message.get("status"))
    if message.get("ack") != _ERROR and "ERROR" not in states and not message.get("error"):
        return None
    words = _words(message)
    reason = f"WhatsApp: {words}" if words else "WhatsApp could not deliver it."
    return _of_engine(words) or RetryableError(reason, code="ack_error")


def _of_engine(words: str) -> SendError | None:
    """Return the error of a known engine message."""
    if _RESTRICTED.search(words):
        return restricted(now=time.time())
    if _NOT_ON_WHATSAPP in words:
        return PermanentError(f"WhatsApp: {words}", code="engine")
    return None


def _words(message: Mapping[str, Any]) -> str:
    """Return the engine's message about a failure; NOWEB returns a list of codes."""
    data = message.get("_data")
    codes = data.get("messageStubParameters") if isinstance(data, Mapping) else None
    if isinstance(codes, list):
        return ", ".join(f"error {code}" for code in codes)
    return str(message.get("error") or "")
