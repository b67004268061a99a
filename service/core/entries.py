"""Entries of `to`: splits a text into entries and reads the recipient of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from service import ids
from service.core import notations, numbers
from service.core.numbering import Numbering, Way
from service.models import SendType

Given = str | float | Sequence[str | float | Mapping[str, Any]]
"""What `to` may be: a text, a number, or a list of these and of objects with `to` and `variables`.
The text of a float has to be that which the client wrote."""


_PIECE: Final = 65_536
"""Characters of a string to split at a time."""


_PIECE_OF_LIST: Final = 5_000


_SEPARATORS: Final = ";\u060c\u061b\u3001\uff0c\uff1b"
"""Characters read as a comma: semicolons and Arabic, Chinese and Japanese commas."""


_LINE_ENDS: Final = "\n\r\t\x0b\x0c\x85\u2028\u2029"
"""Line ends. Tabs count too: text copied from a spreadsheet has tabs."""


_USER_ID: Final = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")


_WHATSAPP_GROUP: Final = re.compile(r"[0-9][0-9-]{0,63}@g\.us")


NO_GROUP: Final = (
    "is not the id of a contact group (24 hexadecimal digits)"
    " or of a WhatsApp group (ending in @g.us)"
)


def is_user_id(recipient: str) -> bool:
    """Return whether a recipient is WhatsApp's id of a person who may hide the number."""
    return _USER_ID.fullmatch(recipient) is not None


def _address(entry: str) -> str | None:
    """Return a number, or a user id, as deliveries store it."""
    return numbers.normalise(entry) or user_id(entry)


def user_id(entry: str) -> str | None:
    """Return the WhatsApp user id that an entry is, or None."""
    text = entry.strip()
    return text if is_user_id(text) else None


def read_piece(piece: Sequence[str], send_type: str, numbering: Numbering) -> list[str | None]:
    """Return the recipients of some entries, None for each bad one."""
    found = list(map(way(send_type, numbering)[0], piece))
    if send_type == SendType.INDIVIDUAL and None in found:
        return [each or user_id(entry) for each, entry in zip(found, piece, strict=True)]
    return found


def is_whatsapp_group(recipient: str) -> bool:
    """Return whether a recipient is a WhatsApp group."""
    return recipient.endswith("@g.us")


def read_one(written: str) -> str | None:
    """Return a number or a WhatsApp group in the form that deliveries store."""
    text = written.strip()
    return text if _WHATSAPP_GROUP.fullmatch(text) else _address(written)


def possible(written: str, numbering: Numbering) -> tuple[str, ...]:
    """Return the recipients that a search may mean.

    Digits may be an international number, as answers show it, or a national number of the client:
    then both are searched.
    """
    either = (numbering.read(written), read_one(written))
    return tuple(dict.fromkeys(filter(None, either)))


def searched(written: str, numbering: Numbering) -> tuple[str, ...]:
    """Return the texts to search for.

    They include the text itself, which may be an invalid entry or a sender.
    """
    text = written.strip()
    return tuple(dict.fromkeys((*possible(text, numbering), text))) if text else ()


def size(to: Given) -> int:
    """Return the number of characters in `to`."""
    if isinstance(to, str):
        return len(to)
    return sum(len(str(entry)) for entry in to) if isinstance(to, Sequence) else 0


def pieces(to: Given) -> Iterator[Sequence[str]]:
    """Yield the entries, some thousands at a time."""
    if isinstance(to, str):
        yield from _pieces_of_text(_with_commas(to))
    elif isinstance(to, int | float):
        yield [str(to)]
    else:
        for start in range(0, len(to), _PIECE_OF_LIST):
            piece = to[start : start + _PIECE_OF_LIST]
            is_plain = {*map(type, piece)} == {str}
            yield cast("list[str]", piece) if is_plain else [*map(_written, piece)]


def _written(entry: object) -> str:
    return str(entry.get("to") if isinstance(entry, dict) else entry)


def _with_commas(text: str) -> str:
    """Replace all separators with commas."""
    text = text.strip()
    for separator in _SEPARATORS:
        text = text.replace(separator, ",")
    if any(end in text for end in _LINE_ENDS):
        lines = (line.strip() for line in text.replace("\t", "\n").splitlines())
        entries = (line.removeprefix(",").removesuffix(",").strip() for line in lines)
        return ",".join(filter(None, entries))
    return text.removesuffix(",")


def _pieces_of_text(text: str) -> Iterator[list[str]]:
    start = 0
    while text and start <= len(text):
        comma = text.find(",", start + _PIECE)
        end = len(text) if comma < 0 else comma
        yield text[start:end].split(",")
        start = end + 1


def _group(entry: str) -> str | None:
    text = entry.strip()
    if _WHATSAPP_GROUP.fullmatch(text):
        return text
    text = text.lower()
    return text if ids.is_id(text) else None


def _no_group(entry: str) -> str:
    return NO_GROUP if entry.strip() else notations.EMPTY


def way(send_type: str, numbering: Numbering) -> Way:
    """Return the function that reads entries, and the one that explains invalid ones."""
    return (_group, _no_group) if send_type == SendType.GROUP else numbering.way()
