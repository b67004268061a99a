"""Text files with separated cells: CSV, TSV and similar formats."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Final

from service.lists import encodings, looks
from service.lists.base import LONGEST_ROW, ListError, Row, check_length, check_width

_SEPARATORS: Final = ",;\t|"
_NAMED: Final = re.compile(r"sep=([^\"\r\n])[,;\t]*\s*\Z", re.IGNORECASE)
"""A first line that tells Excel the separator."""

_FORMULA: Final = re.compile(r'="(.*)"\Z', re.DOTALL)
"""A formula that keeps Excel from converting digits to a number; its text is the value."""

_KEPT: Final = re.compile(r"\A'(?=[=+\-@\t\r'])")
"""A prefix by which exports keep spreadsheets from evaluating a text as a formula."""

_TRIED: Final = 100
_MOST_RAW: Final = 4 * LONGEST_ROW
"""The most characters of a row with its separators and quotation marks."""


def read(file: BinaryIO, encoding: str) -> Iterator[Row]:
    """Yield the rows of a text; raises ListError."""
    with encodings.opened(file, encoding, newline="") as text:
        yield from _rows(text)


def _rows(text: io.TextIOWrapper) -> Iterator[Row]:
    separator, start = _separator(text)
    lines = _RowLines(text, start)
    reader = csv.reader(lines, delimiter=separator)
    number = start
    try:
        for number, cells in enumerate(reader, start + 1):
            lines.end_row(number)
            while cells and not cells[-1].strip():
                cells.pop()
            if cells:
                yield Row(number, _checked(number, cells))
    except csv.Error as error:
        raise ListError(f"Row {number + 1} cannot be read as CSV: {error}.") from error


def _checked(number: int, cells: list[str]) -> list[str]:
    check_width(number, len(cells))
    joined = "".join(cells)
    check_length(number, len(joined))
    if "\0" in joined:
        raise ListError(f"Row {number} contains a null character: save the file as UTF-8.")
    if '="' in joined or "'" in joined:
        return [_FORMULA.sub(r"\1", _KEPT.sub("", cell, count=1)) for cell in cells]
    return cells


class _RowLines:
    """Lines, as many as one row may have: of a quotation mark that never ends there is no end."""

    def __init__(self, text: io.TextIOWrapper, row: int) -> None:
        self._lines = _lines(text)
        self._row = row
        self._length = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._length += len(line)
        if self._length > _MOST_RAW:
            check_length(self._row + 1, self._length)
        return line

    def end_row(self, row: int) -> None:
        """Start a new row."""
        self._row, self._length = row, 0


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines; truncate a line that is too long, so that its row is refused."""
    return iter(lambda: text.readline(2 * LONGEST_ROW), "")


def _separator(text: io.TextIOWrapper) -> tuple[str, int]:
    """Return the separator of a text and how many lines come before the first row.

    The text is positioned after these lines.
    """
    lines = list(islice(_lines(text), _TRIED))
    text.seek(0)
    named = _NAMED.match(lines[0]) if lines else None
    if named:
        text.readline()
        return named[1], 1
    return max(_SEPARATORS, key=lambda separator: _fits(lines, separator)), 0


def _fits(lines: list[str], separator: str) -> tuple[int, float, int]:
    """Score a separator: by a column of numbers, then by rows of equal width, then by width."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator) if any(row)]
    except csv.Error:
        return 0, 0, 0
    if not rows:
        return 0, 0, 0
    [(width, count)] = Counter(map(len, rows)).most_common(1)
    return _numbers(rows), *((count / len(rows), width) if width > 1 else (0, 0))


def _numbers(rows: Iterable[list[str]]) -> int:
    """Count the rows with a cell that looks like a phone number."""
    return sum(any(map(looks.like_number, row)) for row in rows)
