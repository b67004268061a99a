"""What WAHA's refusals and failed messages mean."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from service.channels.answers import Answer, refusal
from service.channels.base import BlockedError, PermanentError, RetryableError, SendError
from service.channels.drivers.waha.restrictions import restricted

STATUSES: Final = {
    "STOPPED": "The WAHA session is stopped; start it.",
    "STARTING": "The WAHA session is starting.",
    "SCAN_QR_CODE": "The WAHA session is not linked; scan its QR code with the phone.",
    "PASSKEY_REQUIRED": "The WAHA session wants the phone's passkey.",
    "PASSKEY_CONFIRMATION_REQUIRED": "The WAHA session wants the passkey confirmed.",
    "FAILED": "The WAHA session has failed; restart it or link the phone again.",
}
"""What keeps a session from sending."""

WORKING: Final = "WORKING"
"""The status of a session that can send."""

STARTING_TIME: Final = 10.0
"""Seconds after which a session that is starting is asked again."""

_RESTRICTED: Final = re.compile(r"\berror:? 463\b")
"""How engines tell that WhatsApp has restricted the number."""

_NOT_ON_WHATSAPP: Final = "No LID for user"
"""How WEBJS tells that the recipient is not on WhatsApp."""

_ERROR: Final = -1
"""The acknowledgement of a message that failed."""


def read(body: bytes) -> dict[str, Any]:
    """Return the object in an answer's body, an empty one where there is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def not_working(status: str) -> BlockedError:
    """Return why a session in this status cannot send."""
    reason = STATUSES.get(status, f"The WAHA session is {status[:40]}.")
    wait = STARTING_TIME if status == "STARTING" else None
    return BlockedError(reason, code=status[:40].lower(), wait=wait)


def refused(answer: Answer) -> SendError:
    """Return what an answer means that accepted nothing."""
    said = read(answer.body)
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and "expected" in said:
        return not_working(str(said.get("status")))
    exception = said.get("exception")
    words = str((exception if isinstance(exception, dict) else said).get("message") or "")
    return _of_engine(words) or refusal(answer, f"WAHA: {words}" if words else "")


def failed(message: Mapping[str, Any]) -> SendError | None:
    """Return why a message failed that WAHA took, None where WAHA does not say that it did.

    The same for an answer with status 201 and for a webhook's acknowledgement.
    """
    states = (message.get("ackName"), message.get("status"))
    if message.get("ack") != _ERROR and "ERROR" not in states and not message.get("error"):
        return None
    words = _words(message)
    reason = f"WhatsApp: {words}" if words else "WhatsApp could not deliver it."
    return _of_engine(words) or RetryableError(reason, code="ack_error")


def _of_engine(words: str) -> SendError | None:
    """Return what an engine's words mean, where they are known."""
    if _RESTRICTED.search(words):
        return restricted(now=time.time())
    if _NOT_ON_WHATSAPP in words:
        return PermanentError(f"WhatsApp: {words}", code="engine")
    return None


def _words(message: Mapping[str, Any]) -> str:
    """Return the engine's own words on a message that failed; NOWEB gives a list of codes."""
    data = message.get("_data")
    codes = data.get("messageStubParameters") if isinstance(data, Mapping) else None
    if isinstance(codes, list):
        return ", ".join(f"error {code}" for code in codes)
    return str(message.get("error") or "")
