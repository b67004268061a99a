"""The ids of messages: WhatsApp's, and those that we give.

WAHA takes the id of a text, a location or a contact card from us, where its engine can (NOWEB,
GOWS). We make that id out of our reference and not by its `new-message-id`: so it is the same
at every attempt, in every process, even after one that died between asking and sending; WhatsApp
drops a second message of one id, and an acknowledgement gives the reference back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

_PREFIX: Final = "3EB0"
"""How WhatsApp Web's message ids begin."""

_REFERENCE: Final = re.compile(r"([0-9a-f]{24})\.([0-9]{1,4})\Z")
_MINTED: Final = re.compile(_PREFIX + r"([0-9A-F]{24})([0-9]{4})\Z")


def mint(reference: str) -> str:
    """Return a message's id for a reference: always the same one, and `3EB0` plus hex digits."""
    if match := _REFERENCE.match(reference):
        return f"{_PREFIX}{match[1].upper()}{int(match[2]):04}"
    return _PREFIX + hashlib.sha256(reference.encode()).hexdigest()[:18].upper()


def reference_of(message_id: str) -> str:
    """Return the reference that an id was made from, empty where it is not of our making."""
    minted = _MINTED.match(message_id)
    return f"{minted[1].lower()}.{int(minted[2])}" if minted else ""


def id_of(message: Mapping[str, Any]) -> str:
    """Return the id in an answer, which every engine shapes in its own way; empty without one."""
    said = message.get("id") or message.get("key")
    if isinstance(said, Mapping):
        said = said.get("_serialized") or said.get("id")
    return shortened(str(said)) if said else ""


def shortened(serialized: str) -> str:
    """Return the piece of `true_<chat>_<id>[_<participant>]` that stays the same everywhere."""
    pieces = serialized.split("_")
    return pieces[2] if len(pieces) > 2 else serialized  # noqa: PLR2004 - the third piece
