"""vCards 3.0 of contacts: the version that all phones and channels can read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.channels.content import ContactCard
from service.models import Contact

_LINE_BYTES = 75
"""The longest unfolded line, without its line end (RFC 2425, section 5.8.1)."""

_BREAKS = re.compile(r"\r\n|\r|\n|\x0b|\x0c|\x1c|\x1d|\x1e|\x85|\u2028|\u2029")
_SPECIAL = re.compile(r"([\\,;])")


def render(contact: Contact | ContactCard) -> str:
    """Return a contact as a vCard 3.0 (RFC 2426), with CRLF line ends.

    Each number has a `waid`, with which WhatsApp offers to write to it.
    """
    return "".join(f"{_fold(line)}\r\n" for line in _lines(contact))


def _lines(contact: Contact | ContactCard) -> Iterator[str]:
    yield "BEGIN:VCARD"
    yield "VERSION:3.0"
    # A name is one string: where the family name begins is not known (RFC 2426, 3.1.2).
    yield f"N:;{_escape(contact.name)};;;"
    yield f"FN:{_escape(contact.name)}"
    if contact.organisation:
        yield f"ORG:{_escape(contact.organisation)}"
    for phone in contact.phones:
        yield f"TEL;TYPE=CELL;waid={phone}:+{phone}"
    for email in contact.emails:
        yield f"EMAIL;TYPE=INTERNET:{_escape(email)}"
    yield "END:VCARD"


def _escape(text: str) -> str:
    r"""Escape separators; a line break becomes `\n` (RFC 2426, section 4)."""
    return _BREAKS.sub(r"\\n", _SPECIAL.sub(r"\\\1", text))


def _fold(line: str) -> str:
    """Fold a long line: continuation lines begin with a space; no character is split."""
    folded, room, used = [], _LINE_BYTES, 0
    for character in line:
        size = len(character.encode())
        if used + size > room:
            folded.append("\r\n ")
            room, used = _LINE_BYTES - 1, 0
        folded.append(character)
        used += size
    return "".join(folded)
