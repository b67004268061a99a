"""The types, limits and error that all readers of lists share."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MOST_COLUMNS: Final = 1_000
"""The last column that may have a value. Spreadsheets allow 16,384."""

LONGEST_ROW: Final = 65_536
"""Maximum characters of one row, card or record."""

MOST_UNPACKED: Final = 1024 * 1024 * 1024
"""Maximum bytes of an unpacked workbook. A million rows of six columns take 350 MB."""

PIECE: Final = 65_536
"""Bytes to read at a time."""


DEEPEST: Final = 256
"""How many elements of XML may be open at once. Every one takes memory until it ends."""

_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")


class ListError(Exception):
    """A file that cannot be read as a list. The text says why and what to do."""


class Row(NamedTuple):
    """A row of a grid: its number, counted from 1 as in spreadsheets, and the text of its cells."""

    number: int
    cells: list[str]
    is_hidden: bool = False


class Entry(NamedTuple):
    """A person in a list: the row, its candidate phone numbers and its other values.

    Empty values are left out.
    """

    row: int
    numbers: tuple[str, ...]
    values: dict[str, str]


def letters(column: int) -> str:
    """Return a column's name in a spreadsheet, counted from 0: A, B, …, Z, AA."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(65 + rest) + name
    return name


def storable(text: str) -> str:
    """Return a text without what no database stores: zeros, and halves of surrogate pairs."""
    return _NOT_STORABLE.sub("", text)


def check_depth(depth: int) -> None:
    """Raise ListError for XML whose elements stand too deep one in another."""
    if depth > DEEPEST:
        raise ListError(
            f"The workbook has XML of more than {DEEPEST} levels, as no spreadsheet program writes:"
            " save it again."
        )


def check_width(row: int, columns: int) -> None:
    """Raise ListError for a row that is too wide."""
    if columns > MOST_COLUMNS:
        raise ListError(
            f"Row {row} reaches column {letters(columns - 1)}: a list has {MOST_COLUMNS:,} columns"
            " at most. Delete what stands right of it."
        )


def check_length(row: int, characters: int) -> None:
    """Raise ListError for a row that is too long."""
    if characters > LONGEST_ROW:
        raise ListError(
            f"Row {row} has more than {LONGEST_ROW:,} characters. In a text file, a quotation mark"
            " that is never closed makes one row of many."
        )
