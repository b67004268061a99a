"""Workbooks of Excel since 2007 (XLSX, XLSM), read as a stream.

A sheet of a million rows needs only the memory of its shared texts. The result of a formula is
read, not the formula. ECMA-376 describes the format.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import count
from posixpath import join, normpath
from typing import BinaryIO, Final

from service.lists import values
from service.lists.archives import Archive
from service.lists.base import (
    LONGEST_ROW,
    MOST_UNPACKED,
    ListError,
    Row,
    check_depth,
    check_length,
    check_width,
    storable,
)
from service.lists.spreads import Area, MergedCells

_MERGED: Final = re.compile(
    rb'<(?:\w{1,20}:)?mergeCell\s[^<>]{0,100}?ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"'
)
_OVERLAP: Final = 200
_ESCAPED: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_MOST_TEXT: Final = 256 * 1024 * 1024
_HIDDEN: Final = frozenset({"1", "true"})
_LAST_COLUMN: Final = 16_384


def read(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of the first visible sheet; raises ListError."""
    archive = Archive(file)
    book = _Book(archive)
    spread = MergedCells(_merged(archive, book.sheet))
    return spread.fill(_Sheet(archive, book, spread).rows())


class _Book:
    """The data outside the sheet: the sheet's name, the shared texts and the date formats."""

    def __init__(self, archive: Archive) -> None:
        self.sheet = ""
        self.since_1904 = False
        self.dates: set[str] = set()
        self._sheets: list[str] = []
        self._parts: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        archive.parse_whole("_rels/.rels", (self._relation, _nothing, _nothing))
        main = normpath(self._of_kind("officeDocument") or "xl/workbook.xml").lstrip("/")
        folder, _, name = main.rpartition("/")
        self._parts, self._kinds = {}, {}
        archive.parse_whole(
            join(folder, "_rels", f"{name}.rels"), (self._relation, _nothing, _nothing)
        )
        archive.parse_whole(main, (self._workbook, _nothing, _nothing))
        shown = [self._parts[each] for each in self._sheets if each in self._parts]
        if not shown:
            raise ListError("The workbook has no visible sheet.")
        self.sheet = _path(folder, shown[0])
        self.texts = _Texts(archive, self._path_of("sharedStrings", folder))
        styles = self._path_of("styles", folder)
        if styles in archive:
            self.dates = _dates(archive, styles)

    def _relation(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship":
            target = attributes.get("Target", "")
            self._parts[attributes.get("Id", "")] = target
            self._kinds.setdefault(attributes.get("Type", "").rpartition("/")[2], target)

    def _of_kind(self, kind: str) -> str:
        return self._kinds.get(kind, "")

    def _path_of(self, kind: str, folder: str) -> str:
        target = self._of_kind(kind)
        return _path(folder, target) if target else ""

    def _workbook(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet" and attributes.get("state", "visible") == "visible":
            self._sheets.append(_of(attributes, "id"))
        elif name == "workbookPr":
            self.since_1904 = attributes.get("date1904", "") in _HIDDEN


class _Texts:
    """The texts that cells share, in one block of memory."""

    def __init__(self, archive: Archive, part: str) -> None:
        self._block = bytearray()
        self._ends = array("I")
        self._in_text = self._in_reading = False
        if part in archive:
            archive.parse_whole(part, (self._start, self._end, self._text), MOST_UNPACKED)

    def __getitem__(self, place: str) -> str:
        index = int(place)
        start = self._ends[index - 1] if index else 0
        return self._block[start : self._ends[index]].decode()

    def _start(self, name: str, _: dict[str, str]) -> None:
        if name == "t":
            self._in_text = not self._in_reading
        elif name == "rPh":  # phonetic text of Japanese
            self._in_reading = True

    def _end(self, name: str) -> None:
        if name == "t":
            self._in_text = False
        elif name == "rPh":
            self._in_reading = False
        elif name == "si":
            self._ends.append(len(self._block))

    def _text(self, text: str) -> None:
        if self._in_text:
            self._block += text.encode()
            if len(self._block) > _MOST_TEXT:
                raise ListError(f"The workbook's texts have more than {_MOST_TEXT:,} bytes.")


class _Sheet:
    """One sheet, row by row."""

    def __init__(self, archive: Archive, book: _Book, spread: MergedCells) -> None:
        self._archive = archive
        self._book = book
        self._spread = spread
        self._done: list[Row] = []
        self._columns: dict[str, int] = {}
        self._number = 0
        self._is_hidden = False
        self._cells: list[str] = []
        self._length = 0
        self._column = -1
        self._type = self._style = ""
        self._is_value = False
        self._value = ""
        self._depth = 0

    def rows(self) -> Iterator[Row]:
        """Yield the rows that are not empty."""
        handlers = (self._start, self._end, self._text)
        for _ in self._archive.parse(self._book.sheet, handlers):
            check_depth(self._depth)
            yield from self._done
            self._done = []

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name == "c":
            ref = attributes.get("r")
            self._column = self._column_of(ref) if ref else self._column + 1
            self._type = attributes.get("t", "n")
            self._style = attributes.get("s", "")
            self._value = ""
        elif name in {"v", "t"}:
            self._is_value = True
        elif name == "row":
            self._number = _whole(attributes.get("r")) or self._number + 1
            self._is_hidden = attributes.get("hidden", "") in _HIDDEN
            self._cells, self._length, self._column = [], 0, -1
        elif name == "col" and attributes.get("hidden", "") in _HIDDEN:
            first, last = _whole(attributes.get("min")), _whole(attributes.get("max"))
            self._spread.hide(first - 1, last - 1)

    def _text(self, text: str) -> None:
        if self._is_value:
            self._value += text
            if len(self._value) > LONGEST_ROW:
                check_length(self._number, len(self._value))

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name in {"v", "t"}:
            self._is_value = False
        elif name == "c":
            if self._value:
                self._put(self._meaning())
        elif name == "row" and self._cells:
            self._done.append(Row(self._number, self._cells, self._is_hidden))

    def _put(self, text: str) -> None:
        if not text or text.isspace():
            return
        self._length += len(text)
        check_length(self._number, self._length)
        cells = self._cells
        if self._column == len(cells):
            cells.append(text)
            return
        check_width(self._number, self._column + 1)
        cells.extend([""] * (self._column + 1 - len(cells)))
        cells[self._column] = text

    def _meaning(self) -> str:
        kind, value = self._type, self._value
        if kind == "s":
            return self._shared(value)
        if kind == "n":
            if self._style in self._book.dates:
                return values.date(value, since_1904=self._book.since_1904)
            return values.number(value)
        if kind == "e":  # an error such as #N/A must not be sent
            return ""
        if kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        return _unescaped(value)

    def _shared(self, place: str) -> str:
        try:
            return _unescaped(self._book.texts[place])
        except (IndexError, ValueError) as error:
            raise ListError(f"Row {self._number} refers to a missing shared text.") from error

    def _column_of(self, ref: str) -> int:
        name = ref.rstrip("0123456789")
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = _column(name)
        return found


def _dates(archive: Archive, part: str) -> set[str]:
    """Return the cell styles whose numbers are dates or times."""
    codes: dict[str, str] = {}
    dates: set[str] = set()
    styles = count()
    inside: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        inside.append(name)
        if name == "numFmt":
            codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif name == "xf" and inside[-2:-1] == ["cellXfs"]:
            style, format_id = next(styles), attributes.get("numFmtId", "0")
            if values.is_date(_whole(format_id), codes.get(format_id, "")):
                dates.add(str(style))

    def end(_: str) -> None:
        inside.pop()

    archive.parse_whole(part, (start, end, _nothing))
    return dates


def _merged(archive: Archive, part: str) -> Iterator[Area]:
    """Yield the merged areas, which a sheet lists after its rows."""
    rest = b""
    for piece in archive.pieces(part):
        rest += piece
        end = 0
        for found in _MERGED.finditer(rest):
            left, top, right, bottom = found.groups()
            yield Area(int(top), int(bottom), _column(left.decode()), _column(right.decode()))
            end = found.end()
        rest = rest[max(end, len(rest) - _OVERLAP) :]


def _column(name: str) -> int:
    """Return the number of a column, from 0; raises ListError."""
    number = 0
    for letter in name[:4].upper():
        number = number * 26 + ord(letter) - 64
    if not 0 < number <= _LAST_COLUMN:
        raise ListError(
            f"The workbook has a cell in the column {name[:8]!r}, which does not exist."
        )
    return number - 1


def _unescaped(text: str) -> str:
    r"""Return a text in which `_x000A_` stands for a line break (ECMA-376, part 1, 22.9.2.19)."""
    if "_x" not in text:
        return text
    return storable(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), text))


def _path(folder: str, target: str) -> str:
    return target.lstrip("/") if target.startswith("/") else normpath(join(folder, target))


def _of(attributes: dict[str, str], name: str) -> str:
    """Return a namespaced attribute, with any prefix."""
    return next((text for key, text in attributes.items() if key.endswith(f":{name}")), "")


def _whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 9 else 0  # noqa: PLR2004


def _nothing(*_: object) -> None:
    """Ignore an event."""
