"""Converts a provider's reports to rows of waiting receipts, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row

from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    TemplateError,
    UnknownCodeError,
)
from service.channels.webhooks import Notice, Receipt, ReceiptState
from service.core.deliveries.transitions import storable

ACCOUNT: Final = "account"
"""The state of a report on the account, not on a message."""

_REFERENCE = re.compile(r"([0-9a-f]{24})\.([0-9]{1,4})")
"""The reference to a part of a delivery, as `dispatch.sending.sender` writes it."""

_KINDS: Final[Mapping[str, type[SendError]]] = {
    "retryable": RetryableError,
    "permanent": PermanentError,
    "request": RequestError,
    "template": TemplateError,
    "unknown": UnknownCodeError,
    "blocked": BlockedError,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def row(session_id: str, word: Receipt | Notice, now: int) -> dict[str, Any]:
    """Return the row of a report that arrived at `now`."""
    common = {"session_id": session_id, "received_at": now, "due_at": now, **_error(word.error)}
    if isinstance(word, Notice):
        return {**common, **_OF_ACCOUNT}
    ours = _REFERENCE.fullmatch(word.reference)
    return {
        **common,
        "state": word.state,
        "message_id": one_word(word.provider_id),
        "recipients": storable(" ".join(word.recipients)) or None,
        "delivery_id": ours[1] if ours else None,
        "part": int(ours[2]) if ours else None,
        "pricing": storable(word.pricing) or None,
    }


LONGEST_WORD: Final = 500
"""Characters of a provider's id. An index of Postgres takes 2,704 bytes, four for a character."""


def one_word(message_id: str) -> str:
    """Remove whitespace from a provider's id: stored ids are separated by spaces."""
    return "".join(storable(message_id, longest=LONGEST_WORD).split())


def error(waiting: Row[Any], now: int) -> SendError | None:
    """Restore the driver's error from a row, with the rest of its wait."""
    kind = waiting.kind or ("permanent" if waiting.state == ReceiptState.FAILED else None)
    if kind is None:
        return None
    reason, code = waiting.reason or "", waiting.code or ""
    wait = waiting.wait and max(0.0, waiting.wait - (now - waiting.received_at) / 1000)
    match kind:
        case "retryable":
            return RetryableError(reason, code=code, wait=wait or 0.0)
        case "blocked":
            return BlockedError(reason, code=code, wait=wait)
        case "permanent":
            return PermanentError(reason, code=code, opted_out=waiting.opted_out)
        case _:
            return _KINDS[kind](reason, code=code)


def _error(error: SendError | None) -> dict[str, Any]:
    if error is None:
        return _NO_ERROR
    return {
        "kind": _NAMES.get(type(error), "retryable"),
        "wait": getattr(error, "wait", None),
        "code": storable(error.code) or None,
        "reason": storable(error.reason) or None,
        "opted_out": getattr(error, "opted_out", False),
    }


_OF_ACCOUNT: Final = {
    "state": ACCOUNT,
    "message_id": "",
    "recipients": None,
    "delivery_id": None,
    "part": None,
    "pricing": None,
}
_NO_ERROR: Final = {"kind": None, "wait": None, "code": None, "reason": None, "opted_out": False}
