"""Text files whose cells stand between separators: CSV, TSV and their like."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Final

from service.lists import looks
from service.lists.base import LONGEST_ROW, ListError, Row, check_length, check_width

_SEPARATORS: Final = ",;\t|"
_NAMED: Final = re.compile(r"sep=([^\"\r\n])[,;\t]*\s*\Z", re.IGNORECASE)
"""The first line by which Excel is told the separator."""

_FORMULA: Final = re.compile(r'="(.*)"\Z', re.DOTALL)
"""How a program keeps Excel from making a number of digits: it is read as what is in it."""

_KEPT: Final = re.compile(r"\A'(?=[=+\-@\t\r'])")
"""How an export keeps a spreadsheet from calculating what begins as a formula does."""

_TRIED: Final = 100
_MOST_RAW: Final = 4 * LONGEST_ROW
"""The most characters of a row with its separators and quotation marks."""


def read(file: BinaryIO, encoding: str) -> Iterator[Row]:
    """Yield the rows of a text; raises ListError."""
    text = io.TextIOWrapper(file, encoding, newline="")
    try:
        yield from _rows(text)
    except UnicodeError as error:
        raise ListError(
            f"The file is not {encoding.upper()} throughout: save it as UTF-8."
        ) from error
    finally:
        text.detach()


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
        raise ListError(f"Row {number} has a character of code 0 in it: save the file as UTF-8.")
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
        """Begin a row anew."""
        self._row, self._length = row, 0


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines; one that is too long is cut, so that its row is refused."""
    return iter(lambda: text.readline(2 * LONGEST_ROW), "")


def _separator(text: io.TextIOWrapper) -> tuple[str, int]:
    """Return the separator of a text and how many rows stand before its first.

    The text is left where these end.
    """
    lines = list(islice(_lines(text), _TRIED))
    text.seek(0)
    named = _NAMED.match(lines[0]) if lines else None
    if named:
        text.readline()
        return named[1], 1
    return max(_SEPARATORS, key=lambda separator: _fits(lines, separator)), 0


def _fits(lines: list[str], separator: str) -> tuple[int, float, int]:
    """Judge a separator: a column of numbers counts most, then rows of one width, then width."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator) if any(row)]
    except csv.Error:
        return 0, 0, 0
    if not rows:
        return 0, 0, 0
    [(width, count)] = Counter(map(len, rows)).most_common(1)
    return _numbers(rows), *((count / len(rows), width) if width > 1 else (0, 0))


def _numbers(rows: Iterable[list[str]]) -> int:
    """Count the rows in which some cell looks like a number."""
    return sum(any(map(looks.like_number, row)) for row in rows)
