"""Message ids: WhatsApp's, and those that we choose.

WAHA accepts our id for a text, a location or a contact card if its engine can (NOWEB, GOWS). We
derive the id from our reference instead of calling `new-message-id`. It is therefore the same at
every attempt and in every process. WhatsApp drops a second message with the same id, and an
acknowledgement returns our reference.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

_PREFIX: Final = "3EB0"
"""The prefix of WhatsApp Web's message ids."""

_REFERENCE: Final = re.compile(r"([0-9a-f]{24})\.([0-9]{1,4})\Z")
_MINTED: Final = re.compile(_PREFIX + r"([0-9A-F]{24})([0-9]{4})\Z")


def mint(reference: str) -> str:
    """Return the message id of a reference: `3EB0` and hex digits, always the same."""
    if match := _REFERENCE.match(reference):
        return f"{_PREFIX}{match[1].upper()}{int(match[2]):04}"
    return _PREFIX + hashlib.sha256(reference.encode()).hexdigest()[:18].upper()


def reference_of(message_id: str) -> str:
    """Return the reference of one of our message ids, empty for other ids."""
    minted = _MINTED.match(message_id)
    return f"{minted[1].lower()}.{int(minted[2])}" if minted else ""


def id_of(message: Mapping[str, Any]) -> str:
    """Return the message id in an answer of any engine, empty if there is none."""
    said = message.get("id") or message.get("key")
    if isinstance(said, Mapping):
        said = said.get("_serialized") or said.get("id")
    return shortened(str(said)) if said else ""


def shortened(serialized: str) -> str:
    """Return the id in `true_<chat>_<id>[_<participant>]`."""
    pieces = serialized.split("_")
    return pieces[2] if len(pieces) > 2 else serialized  # noqa: PLR2004 - the third piece
