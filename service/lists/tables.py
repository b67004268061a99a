"""Tables: the people in a file of any kind, as entries with numbers and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO, Final

from service.lists import (
    cards,
    columns,
    encodings,
    kinds,
    old_workbooks,
    open_documents,
    records,
    texts,
    workbooks,
)
from service.lists.base import Entry, ListError, Row, letters
from service.lists.kinds import Kind

_SEVERAL: Final = re.compile(r"\s+:::\s+")
"""The separator between numbers of one label in exports of Google Contacts."""

_BINARY: Final = {
    Kind.XLSX: workbooks.read,
    Kind.ODS: open_documents.read,
    Kind.XLS: old_workbooks.read,
}


@dataclass(frozen=True, slots=True)
class Table:
    """The people in a file.

    `names` are the names of its columns, empty for a column without a name. `numbers` are the
    columns with phone numbers. Both are empty for cards. `entries` is read lazily.
    """

    kind: Kind
    names: list[str]
    numbers: tuple[int, ...]
    entries: Iterator[Entry]

    def place(self, row: int) -> str:
        """Return the place of a row's number, in words for people."""
        if self.kind == Kind.VCF:
            return f"Card {row}"
        if self.kind == Kind.NDJSON:
            return f"Line {row}, {self.names[self.numbers[0]]!r}"
        column = self.numbers[0]
        heading = self.names[column]
        named = f" ({heading})" if heading and heading != letters(column) else ""
        return f"Row {row}, column {letters(column)}{named}"


def read(
    file: BinaryIO,
    *,
    wanted: Mapping[str, str],
    is_number: Callable[[str], bool],
    charset: str = "",
) -> Table:
    """Return the people in a file, whose bytes show its kind.

    `wanted` maps names of values, and `to`, to columns; see `columns.settle`. `charset` is the
    encoding that the client declares for a text. Raises ListError, also while entries are read.
    """
    kind = kinds.find(file)
    if kind in _BINARY:
        return _grid(kind, _BINARY[kind](file), wanted, is_number)
    encoding = encodings.find(file, charset)
    if kind == Kind.VCF:
        return Table(kind, [], (), cards.read(file, encoding))
    if kind == Kind.NDJSON:
        return _records(_as_utf8(file, encoding), wanted, is_number)
    return _grid(kind, texts.read(file, encoding), wanted, is_number)


def _grid(
    kind: Kind,
    rows: Iterator[Row],
    wanted: Mapping[str, str],
    is_number: Callable[[str], bool],
) -> Table:
    sample = list(islice(rows, columns.SAMPLE))
    layout = columns.settle(sample, wanted, is_number)
    below = (row for row in sample if row.number > layout.heading)
    entries = _entries(chain(below, rows), layout.names, layout.numbers)
    return Table(kind, layout.names, layout.numbers, entries)


def _records(file: BinaryIO, wanted: Mapping[str, str], is_number: Callable[[str], bool]) -> Table:
    names: list[str] = []
    rows = records.read(file, names)
    sample = list(islice(rows, columns.SAMPLE))
    layout = columns.settle(sample, wanted, is_number, names)
    entries = _entries(chain(sample, rows), layout.names, layout.numbers)
    return Table(Kind.NDJSON, layout.names, layout.numbers, entries)


def _entries(rows: Iterable[Row], names: list[str], numbers: tuple[int, ...]) -> Iterator[Entry]:
    for number, cells, _ in rows:
        found = [cells[at] for at in numbers if at < len(cells) and cells[at]]
        values = {name: cell for name, cell in zip(names, cells, strict=False) if name and cell}
        for at in numbers:
            values.pop(names[at], None)
        yield Entry(number, _each(found), values)


def _each(found: list[str]) -> tuple[str, ...]:
    if any(":::" in text for text in found):
        return tuple(chain.from_iterable(_SEVERAL.split(text) for text in found))
    return tuple(found)


def _as_utf8(file: BinaryIO, encoding: str) -> BinaryIO:
    """Return a JSON file in UTF-8; a file in another encoding is small enough to convert."""
    if encoding in {"utf-8", "utf-8-sig"}:
        return file
    raise ListError(f"The file is {encoding.upper()}: JSON must be UTF-8.")
