"""Contact cards (vCard 2.1, 3.0 and 4.0), as exported by phones and mail programs."""

from __future__ import annotations

import io
import quopri
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple

from service.lists import encodings
from service.lists.base import LONGEST_ROW, Entry, ListError, check_length, storable

COLUMNS: Final = ("name", "first_name", "last_name", "organisation", "email", "categories")
"""The values read from a card in addition to its numbers."""

_NEEDED: Final = frozenset(
    {"BEGIN", "END", "FN", "N", "TEL", "EMAIL", "ORG", "CATEGORIES", "NICKNAME"}
)
_NO_TELEPHONES: Final = frozenset({"FAX", "PAGER", "MODEM", "BBS", "TEXTPHONE"})
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_SEMICOLON: Final = re.compile(r"(?<!\\);")


class _Property(NamedTuple):
    """A line of a card, such as `TEL;TYPE=CELL:+1…`; its parameters are in capitals."""

    name: str
    parameters: tuple[str, ...]
    value: str


def read(file: BinaryIO, encoding: str) -> Iterator[Entry]:
    """Yield the people in a file of cards, including those without a number; raises ListError."""
    with encodings.opened(file, encoding, newline=None) as text:
        for number, card in enumerate(_cards(_lines(text)), 1):
            yield _entry(number, card)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines that are needed, with folded lines joined."""
    whole = ""
    for line in iter(lambda: text.readline(LONGEST_ROW), ""):
        part = line.rstrip("\r\n")
        if whole.endswith("=") and _is_quoted(whole[:_HEAD]):
            whole = whole[:-1] + part.lstrip("\t ")
        elif part[:1] in {" ", "\t"}:
            whole += part[1:]
        else:
            yield whole
            whole = part
        # Skip the rest of a photo.
        if len(whole) > _SHORT and _name(whole[:_SHORT]) not in _NEEDED:
            whole = whole[:_SHORT]
        check_length(0, len(whole))
    yield whole


_SHORT: Final = 100
_HEAD: Final = 1_000
"""Characters within which a property says how its value is written."""


def _name(line: str) -> str:
    """Return the name of a property, without its group."""
    return re.split("[;:]", line, maxsplit=1)[0].rpartition(".")[2].strip().upper()


def _is_quoted(line: str) -> bool:
    return "QUOTED-PRINTABLE" in line.partition(":")[0].upper()


def _cards(lines: Iterable[str]) -> Iterator[list[_Property]]:
    """Yield the properties of each card; skip nested cards."""
    card: list[_Property] = []
    depth = count = length = 0
    for line in lines:
        name = _name(line)
        if name == "BEGIN":
            depth += 1
        elif name == "END":
            depth -= 1
            if depth == 0:
                count += 1
                yield card
                card, length = [], 0
        elif depth == 1 and name in _NEEDED:
            card.append(_property(name, line))
            length += len(line) + 1
            check_length(count + 1, length)
    if depth:
        raise ListError(f"Card {count + 1} does not end: the file is incomplete. Export it again.")


def _property(name: str, line: str) -> _Property:
    head, value = _halves(line)
    parameters = tuple(head.upper().replace('"', "").split(";")[1:])
    if any("QUOTED-PRINTABLE" in each for each in parameters):
        value = _unquoted(value, parameters)
    return _Property(name, parameters, value)


def _halves(line: str) -> tuple[str, str]:
    """Split a line at the first colon outside quotation marks."""
    is_inside = False
    for at, sign in enumerate(line):
        if sign == '"':
            is_inside = not is_inside
        elif sign == ":" and not is_inside:
            return line[:at], line[at + 1 :]
    return line, ""


def _unquoted(value: str, parameters: tuple[str, ...]) -> str:
    raw = quopri.decodestring(value.encode("utf-8", "replace"))
    charset = next((each[8:] for each in parameters if each.startswith("CHARSET=")), "utf-8")
    for encoding in (charset, "utf-8"):
        try:
            return raw.decode(encoding)
        except (LookupError, ValueError):  # no encoding, or not the one of this text
            continue
    return raw.decode("cp1252", "replace")


def _entry(number: int, card: list[_Property]) -> Entry:
    by_name: dict[str, list[_Property]] = {}
    for each in card:
        by_name.setdefault(each.name, []).append(each)
    phones = sorted(filter(_is_telephone, by_name.get("TEL", ())), key=_rank)
    values = dict(zip(COLUMNS, _values(by_name), strict=True))
    return Entry(
        number,
        tuple(phone for each in phones if (phone := _telephone(each.value))),
        {name: text for name, value in values.items() if (text := _clean(value))},
    )


def _values(by_name: dict[str, list[_Property]]) -> Iterator[str]:
    """Yield the values of a card, in the order of `COLUMNS`."""

    def first(name: str) -> str:
        return by_name[name][0].value if name in by_name else ""

    parts = [_plain(part) for part in _SEMICOLON.split(first("N"))]
    family, given, *_ = [*parts, "", ""]
    yield (
        _plain(first("FN")) or " ".join(filter(None, (given, family))) or _plain(first("NICKNAME"))
    )
    yield given
    yield family
    yield ", ".join(filter(None, (_plain(part) for part in _SEMICOLON.split(first("ORG")))))
    yield _plain(first("EMAIL"))
    yield ",".join(_plain(each.value) for each in by_name.get("CATEGORIES", ()))


def _is_telephone(each: _Property) -> bool:
    return not _types(each) & _NO_TELEPHONES


def _rank(each: _Property) -> tuple[bool, bool]:
    """Return the sort key of a number: mobile phones first, then preferred numbers."""
    types = _types(each)
    return not types & {"CELL", "IPHONE"}, "PREF" not in types


def _types(each: _Property) -> set[str]:
    """Return the types of a phone: `TYPE=CELL`, `TYPE=cell,voice`, `CELL`, `PREF=1`."""
    words: set[str] = set()
    for parameter in each.parameters:
        name, _, value = parameter.partition("=")
        words.update([name] if name == "PREF" or not value else value.split(","))
    return words


def _telephone(value: str) -> str:
    return _clean(_plain(value))


def _plain(value: str) -> str:
    r"""Unescape a value: `\n` is a line break."""
    return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value).strip()


def _clean(text: str) -> str:
    return storable(text).strip()
