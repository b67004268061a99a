"""Recipients: the entries of a broadcast's `to`, read, checked and made unique in one pass.

A text is taken apart piece by piece, so that a million entries leave little behind but the unique
recipients.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, NamedTuple, cast

from service import ids
from service.core import notations, numbers, variables
from service.core.numbering import INTERNATIONAL, Numbering, Way
from service.core.variables import MOST_BYTES, UnusableVariablesError, Variables
from service.models import SendType

Given = str | float | Sequence[str | float | Mapping[str, Any]]
"""What `to` may be: a text, a number, or a list of these and of objects with `to` and `variables`.
The text of a float has to be that which the client wrote."""

SHOWN: Final = 1_000
"""The most entries of `to` that answers repeat."""

_MOST_CHARACTERS: Final = 200_000
"""The most characters of `to` that answers repeat: a few numbers may have millions of spaces."""

MOST_BAD: Final = 1_000
"""The most bad entries that are kept. After that, reading stops: a bad entry costs ten times as
much as a good one."""

_LONGEST_SHOWN: Final = 40
"""The most characters of a bad entry that are kept."""

_PIECE: Final = 65_536
"""Characters of a string to split at a time."""

_PIECE_OF_LIST: Final = 5_000

_MEMBERS: Final = frozenset({"to", "variables"})
_OTHERWISE: Final = "with other variables: keep one of them, or send each in a broadcast of its own"

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


NO_OBJECT: Final = "is no text, and no object with `to`, a text, and `variables`, an object"


class Row(NamedTuple):
    """An entry with its position from 0, and the variables that it brings.

    `objection` is what is wrong with its form, in words to go behind `written`.
    """

    position: int
    written: str
    variables: Mapping[str, Any] | None = None
    objection: str = ""


class BadEntry(NamedTuple):
    """A bad entry: its position in `to` from 0, its beginning, and the reason."""

    position: int
    entry: str
    reason: str


class Source(NamedTuple):
    """Where entries come from: the field of the request, and how a place in it is called.

    `place` returns words to go before an entry, empty where the position says it all.
    """

    field: str = "to"
    place: Callable[[int], str] = lambda _: ""


@dataclass(frozen=True, slots=True)
class Recipients:
    """What `to` says: each recipient once, in the order of first mention, and the bad entries.

    Numbers are E.164 digits without `+`. `bad` holds the first bad entries; more of them were found
    where `bad_count` is higher, and then not all entries were read. `count` is that of the entries
    that were read. `rows` are the positions of the unique ones, if they were noted, and `variables`
    what they bring, None where nobody brings any. `numbering` says how numbers were meant.
    """

    unique: tuple[str, ...]
    bad: tuple[BadEntry, ...] = ()
    bad_count: int = field(default=0, compare=False)
    count: int = field(default=0, compare=False)
    given: Given = field(default="", compare=False, repr=False)
    send_type: str = field(default=SendType.INDIVIDUAL, compare=False)
    rows: Sequence[int] = field(default=(), compare=False, repr=False)
    variables: Variables | None = field(default=None, compare=False, repr=False)
    numbering: Numbering = field(default=INTERNATIONAL, compare=False)
    source: Source = field(default=Source(), compare=False, repr=False)

    @property
    def duplicates(self) -> int:
        """How many entries named somebody who is there already."""
        return self.count - self.bad_count - len(self.unique)

    @property
    def is_truncated(self) -> bool:
        """Return whether `to` is too long to repeat in answers."""
        return self.count > SHOWN or _size(self.given) > _MOST_CHARACTERS

    @property
    def shown(self) -> Given:
        """Return `to` as given, or its first recipients if it is too long."""
        if not self.is_truncated:
            return self.given
        head = self.unique[:SHOWN]
        return ",".join(head) if isinstance(self.given, str) else list(head)

    def without(self, positions: Collection[int]) -> Recipients:
        """Return the recipients without the entries at some positions."""
        places = self.places()
        kept = [at for at, each in enumerate(self.unique) if places[each] not in positions]
        bad = tuple(each for each in self.bad if each.position not in positions)
        return replace(
            self,
            unique=tuple(self.unique[at] for at in kept),
            bad=bad,
            bad_count=self.bad_count - len(self.bad) + len(bad),
            rows=[places[self.unique[at]] for at in kept],
            variables=self.variables and self.variables.chosen(kept),
        )

    def with_given(self) -> Recipients:
        """Return the recipients as if a client had sent a list of them."""
        brought = self.variables
        given: list[str | Mapping[str, Any]] = [*self.unique[: SHOWN + 1]]
        if brought:
            texts = brought.texts[: SHOWN + 1]
            given = [
                {"to": each, "variables": variables.load(text)} if text else each
                for each, text in zip(self.unique, texts, strict=False)
            ]
        return replace(self, given=given)

    def sampled(self, size: int, chance: Random) -> Recipients:
        """Return the recipients with a random sample in front of the others."""
        first = sorted(chance.sample(range(len(self.unique)), size))
        taken = set(first)
        order = [*first, *(at for at in range(len(self.unique)) if at not in taken)]
        return replace(
            self,
            unique=tuple(self.unique[at] for at in order),
            rows=(),
            variables=self.variables and self.variables.chosen(order),
        )

    def written(self) -> Iterator[str]:
        """Yield the entries as they were written, those that are given back of a long file."""
        for piece in _pieces(self.given):
            yield from piece

    def places(self) -> dict[str, int]:
        """Return where each recipient is mentioned first, if need be by reading `to` once more."""
        if self.rows:
            return dict(zip(self.unique, self.rows, strict=True))
        found: dict[str, int] = {}
        read_ones = (each for piece in _pieces(self.given) for each in self._read(piece))
        for position, recipient in enumerate(read_ones):
            found.setdefault(recipient or "", position)
        return found

    def _read(self, piece: Sequence[str]) -> list[str | None]:
        return _read_piece(piece, self.send_type, self.numbering)


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
    _, reason = _way(send_type, numbering)
    unique: dict[str | None, None] = {}
    bad: list[BadEntry] = []
    bad_count = count = 0
    for piece in _pieces(to):
        found = _read_piece(piece, send_type, numbering)
        for recipient in found:
            unique[recipient] = None
        if None in unique:
            del unique[None]
            wrong = [at for at, recipient in enumerate(found) if recipient is None]
            bad_count += len(wrong)
            for at in wrong[: most_bad - len(bad)]:
                shown = piece[at].strip()[:_LONGEST_SHOWN]
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
        self._normalise, self._reason = _way(send_type, numbering)
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
        """Return those of an entry's variables that are kept."""
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
        return self._normalise(written) or (self._takes_ids and _user_id(written)) or None

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
            self._bad.append(BadEntry(row.position, row.written.strip()[:_LONGEST_SHOWN], reason))


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


def is_user_id(recipient: str) -> bool:
    """Return whether a recipient is WhatsApp's id of a person who may hide the number."""
    return _USER_ID.fullmatch(recipient) is not None


def _address(entry: str) -> str | None:
    """Return a number, or a user id, as deliveries store it."""
    return numbers.normalise(entry) or _user_id(entry)


def _user_id(entry: str) -> str | None:
    text = entry.strip()
    return text if is_user_id(text) else None


def _read_piece(piece: Sequence[str], send_type: str, numbering: Numbering) -> list[str | None]:
    """Return the recipients of some entries, None for each bad one."""
    found = list(map(_way(send_type, numbering)[0], piece))
    if send_type == SendType.INDIVIDUAL and None in found:
        return [each or _user_id(entry) for each, entry in zip(found, piece, strict=True)]
    return found


def is_whatsapp_group(recipient: str) -> bool:
    """Return whether a recipient is a WhatsApp group."""
    return recipient.endswith("@g.us")


def read_one(written: str) -> str | None:
    """Return a number or a WhatsApp group in the form that deliveries store."""
    text = written.strip()
    return text if _WHATSAPP_GROUP.fullmatch(text) else _address(written)


def _size(to: Given) -> int:
    """Return the number of characters in `to`."""
    if isinstance(to, str):
        return len(to)
    return sum(len(str(entry)) for entry in to) if isinstance(to, Sequence) else 0


def _pieces(to: Given) -> Iterator[Sequence[str]]:
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


def _way(send_type: str, numbering: Numbering) -> Way:
    """Return how entries are read, and what is wrong with those that cannot be."""
    return (_group, _no_group) if send_type == SendType.GROUP else numbering.way()
