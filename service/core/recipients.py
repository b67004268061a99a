"""Recipients: the entries of a broadcast's `to`, read, checked and made unique in one pass.

A text is taken apart piece by piece, so that a million entries leave little behind but the unique
recipients.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from service.core import variables
from service.core.entries import Given, pieces, read_piece, user_id, way
from service.core.numbering import INTERNATIONAL, Numbering
from service.core.recipient_lists import BadEntry, Recipients, Source
from service.core.variables import MOST_BYTES, UnusableVariablesError, Variables
from service.models import SendType

MOST_BAD: Final = 1_000
"""The most bad entries that are kept. After that, reading stops: a bad entry costs ten times as
much as a good one."""


LONGEST_SHOWN: Final = 40
"""The most characters of a bad entry that are kept."""


_MEMBERS: Final = frozenset({"to", "variables"})


_OTHERWISE: Final = "with other variables: keep one of them, or send each in a broadcast of its own"


NO_OBJECT: Final = "is no text, and no object with `to`, a text, and `variables`, an object"


class Row(NamedTuple):
    """An entry with its position from 0, and the variables that it brings.

    `objection` is what is wrong with its form, in words to go behind `written`.
    """

    position: int
    written: str
    variables: Mapping[str, Any] | None = None
    objection: str = ""


def read(  # noqa: PLR0913 - each says another thing about how entries are meant
    to: Given,
    send_type: str = SendType.INDIVIDUAL,
    *,
    most: int = 1_000_000,
    names: frozenset[str] | None = None,
    numbering: Numbering = INTERNATIONAL,
    most_bad: int = MOST_BAD,
) -> Recipients:
    """Read phone numbers, meant as `numbering` says, or ids of groups, as `send_type` says.

    Entries of a text are separated by commas, semicolons or line ends. A separator at the end of a
    text or a line is ignored, and so are blank lines. Nothing is refused here: the caller decides
    what becomes of bad entries, and of more than `most`, after which no more are read.
    """
    if isinstance(to, list) and dict in {*map(type, to)}:
        reading = Reading(send_type, names, numbering, most_bad)
        return read_rows(_rows(to), reading, most=most, given=to)
    _, reason = way(send_type, numbering)
    unique: dict[str | None, None] = {}
    bad: list[BadEntry] = []
    bad_count = count = 0
    for piece in pieces(to):
        found = read_piece(piece, send_type, numbering)
        for recipient in found:
            unique[recipient] = None
        if None in unique:
            del unique[None]
            wrong = [at for at, recipient in enumerate(found) if recipient is None]
            bad_count += len(wrong)
            for at in wrong[: most_bad - len(bad)]:
                shown = piece[at].strip()[:LONGEST_SHOWN]
                bad.append(BadEntry(count + at, shown, reason(piece[at])))
        count += len(piece)
        if count > most or bad_count > most_bad:
            break
    people = cast("tuple[str, ...]", tuple(unique))
    return Recipients(people, tuple(bad), bad_count, count, to, send_type, numbering=numbering)


def read_rows(
    rows: Iterable[Row],
    reading: Reading,
    *,
    most: int = 1_000_000,
    given: Given = "",
    source: Source | None = None,
) -> Recipients:
    """Read entries that may have variables.

    Somebody who is named twice with the same variables is one recipient; with others, the second
    entry is a bad one. `given` is what stands for the entries in an answer.
    """
    for row in rows:
        reading.add(row)
        if reading.count > most or reading.is_hopeless:
            break
    return reading.recipients(given, source or Source())


class Reading:
    """Entries that are read one by one.

    Of their variables only those in `names` are kept, all where it is None. After `most_bad` bad
    entries there is no use in reading on.
    """

    def __init__(
        self,
        send_type: str = SendType.INDIVIDUAL,
        names: frozenset[str] | None = None,
        numbering: Numbering = INTERNATIONAL,
        most_bad: int = MOST_BAD,
    ) -> None:
        self.count = self.bad_count = 0
        self.brought = Variables()
        self._send_type, self._names = send_type, names
        self._numbering, self._most_bad = numbering, most_bad
        self._normalise, self._reason = way(send_type, numbering)
        self._takes_ids = send_type == SendType.INDIVIDUAL
        self._found: dict[str, str] = {}
        self._rows = array("I")
        self._repeats = _Repeats()
        self._bad: list[BadEntry] = []

    @property
    def is_hopeless(self) -> bool:
        """Tell whether there is too much of anything to be accepted."""
        return self.bad_count > self._most_bad or self.brought.size > MOST_BYTES

    def kept(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the variables of an entry that are kept."""
        if self._names is None:
            return values
        return {name: value for name, value in values.items() if name in self._names}

    def add(self, row: Row) -> None:
        """Take one entry in."""
        self.count += 1
        recipient = None if row.objection else self.read(row.written)
        if recipient is None:
            self._refuse(row, row.objection or self._reason(row.written))
            return
        try:
            values = self._settled(row.variables)
        except UnusableVariablesError as error:
            self._refuse(row, str(error))
            return
        known = self._found.setdefault(recipient, recipient)
        if len(self._found) > len(self._rows):
            self._rows.append(row.position)
            self.brought.add(values)
        else:
            self._repeats.add(known, row.position, values)

    def read(self, written: str) -> str | None:
        """Return the recipient that an entry names, None for a bad one."""
        return self._normalise(written) or (self._takes_ids and user_id(written)) or None

    def recipients(self, given: Given, source: Source) -> Recipients:
        """Return what was read."""
        for recipient, place, position in self._repeats.differing(self._found, self.brought):
            reason = f"is entry {self._rows[place]} too, {_OTHERWISE}"
            self._refuse(Row(position, recipient), reason)
        return Recipients(
            tuple(self._found),
            tuple(sorted(self._bad)),
            self.bad_count,
            self.count,
            given,
            self._send_type,
            self._rows,
            self.brought if self.brought.seen else None,
            self._numbering,
            source,
        )

    def _settled(self, given: Mapping[str, Any] | None) -> dict[str, str]:
        if not given:
            return {}
        self.brought.see(given)
        return variables.settle(given, self._names)

    def _refuse(self, row: Row, reason: str) -> None:
        self.bad_count += 1
        if len(self._bad) < self._most_bad:
            self._bad.append(BadEntry(row.position, row.written.strip()[:LONGEST_SHOWN], reason))


class _Repeats:
    """Entries that name somebody again: who, at which position, and a mark of their variables.

    They are compared at the end: to know everybody's place meanwhile takes 30 MB of a million.
    """

    def __init__(self) -> None:
        self._who: list[str] = []
        self._positions = array("L")
        self._marks = array("L")

    def add(self, recipient: str, position: int, values: Mapping[str, str]) -> None:
        """Note an entry."""
        self._who.append(recipient)
        self._positions.append(position)
        self._marks.append(_mark(variables.dump(values)))

    def differing(
        self, everybody: Iterable[str], brought: Variables
    ) -> Iterator[tuple[str, int, int]]:
        """Yield who brings other variables than the first time, their place, and the position."""
        again = frozenset(self._who)
        if not again:
            return
        places = {each: place for place, each in enumerate(everybody) if each in again}
        for who, position, mark in zip(self._who, self._positions, self._marks, strict=True):
            if _mark(brought.texts[places[who]]) != mark:
                yield who, places[who], position


def _mark(text: str) -> int:
    return zlib.crc32(text.encode())


def _rows(to: Sequence[Any]) -> Iterator[Row]:
    for position, entry in enumerate(to):
        if isinstance(entry, dict):
            yield _row(position, entry)
        else:
            yield Row(position, str(entry))


def _row(position: int, entry: Mapping[str, Any]) -> Row:
    written, brought = entry.get("to"), entry.get("variables")
    is_fine = (
        entry.keys() <= _MEMBERS
        and isinstance(written, str | int | float)
        and not isinstance(written, bool)
        and isinstance(brought, dict | None)
    )
    return Row(position, str(written), brought) if is_fine else Row(position, "", None, NO_OBJECT)
