"""Recipients: the entries of a broadcast's `to`, read, checked and made unique.

`to` is a list of texts, or one text with commas between its entries. The text is taken apart
piece by piece, so that a million entries leave little behind but the unique recipients.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from service import ids
from service.core import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_PIECE = 65_536
"""About how many characters of a text are taken apart at once."""

_SHOWN = 40
"""The most characters of a bad entry that are kept."""

MOST_BAD = 1_000
"""The most bad entries that are kept; of more, only the number is."""

_WHATSAPP_GROUP = re.compile(r"[0-9][0-9-]{0,63}@g\.us")
NO_GROUP = (
    "is neither the id of a contact group (24 hexadecimal digits)"
    " nor that of a WhatsApp group (ending in @g.us)"
)


class BadEntry(NamedTuple):
    """An entry that nothing can be sent to: its position in `to` from 0, its beginning, and why."""

    position: int
    entry: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recipients:
    """What `to` says: each recipient once, in the order of first mention, and the bad entries.

    `bad` holds the first of them, `bad_count` says how many there are.
    """

    unique: tuple[str, ...]
    bad: tuple[BadEntry, ...]
    bad_count: int = field(default=0, compare=False)


def parse(to: str | Iterable[str]) -> Recipients:
    """Read phone numbers in international form; the recipients are E.164 digits without `+`.

    Raises nothing for bad entries: the caller decides what becomes of them. One comma at the end
    of a text is ignored, and a blank text has no entries at all.
    """
    return _read(to, numbers.normalise, numbers.reason)


def parse_groups(to: str | Iterable[str]) -> Recipients:
    """Read ids of contact groups, for the caller to expand, and of WhatsApp groups (`…@g.us`).

    Commas, blanks, duplicates and bad entries are treated as `parse` does.
    """
    return _read(to, _group, _no_group)


def is_whatsapp_group(recipient: str) -> bool:
    """Tell a WhatsApp group, which is one recipient, from a contact group's id and a number."""
    return recipient.endswith("@g.us")


def _read(
    to: str | Iterable[str],
    normalise: Callable[[str], str | None],
    reason: Callable[[str], str],
) -> Recipients:
    unique: dict[str, None] = {}
    bad: list[BadEntry] = []
    bad_count = 0
    for position, entry in enumerate(_entries(to)):
        recipient = normalise(entry)
        if recipient is not None:
            unique[recipient] = None
            continue
        bad_count += 1
        if bad_count <= MOST_BAD:
            bad.append(BadEntry(position, entry.strip()[:_SHOWN], reason(entry)))
    return Recipients(tuple(unique), tuple(bad), bad_count)


def count(to: str | list[str]) -> int:
    """Return how many entries there are, without a look at any of them."""
    return to.count(",") + 1 if isinstance(to, str) else len(to)


def _entries(to: str | Iterable[str]) -> Iterable[str]:
    return chain.from_iterable(_pieces(to)) if isinstance(to, str) else to


def _pieces(text: str) -> Iterator[list[str]]:
    """Yield the entries between the commas of a text, some thousands at a time."""
    text = text.strip().removesuffix(",")
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
    return NO_GROUP if entry.strip() else numbers.EMPTY
