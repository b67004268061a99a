"""Spreadsheets of LibreOffice and similar programs (ODS), read as a stream.

OASIS OpenDocument 1.3, part 3, describes the format. All files use its usual prefixes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from service.lists import values
from service.lists.archives import MOST_ASIDE, Archive
from service.lists.base import ListError, Row, check_depth, check_length, check_width
from service.lists.spreads import Area, MergedCells

_PART: Final = "content.xml"
_HIDDEN: Final = frozenset({"collapse", "filter"})
_MOST_REPEATED: Final = 1_048_576
_MOST_COPIES: Final = 10_000_000
"""The most cells of rows that are repeated."""

_MOST_STYLES: Final = 65_536
_ENCRYPTED: Final = b"encryption-data"


def read(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of the first visible sheet; raises ListError."""
    archive = Archive(file)
    manifest = "META-INF/manifest.xml"
    if manifest in archive and _ENCRYPTED in b"".join(archive.pieces(manifest, MOST_ASIDE)):
        raise ListError("The spreadsheet is protected by a password: save it without one.")
    spread = MergedCells()
    return spread.fill(_Sheet(archive, spread).rows())


class _Repeated(NamedTuple):
    """Equal consecutive rows."""

    number: int
    times: int
    cells: list[str]
    is_hidden: bool


class _Sheet:
    """The first visible sheet, row by row."""

    def __init__(self, archive: Archive, spread: MergedCells) -> None:
        self._archive = archive
        self._spread = spread
        self._done: list[_Repeated] = []
        self._hidden_styles: set[str] = set()
        self._style = ""
        self._is_open = self._is_over = False
        self._aside = 0
        self._next_row = 1
        self._next_column = 0
        self._rows = self._columns = 1
        self._is_hidden = False
        self._cells: list[str] = []
        self._column = 0
        self._known = ""
        self._paragraphs: list[str] = []
        self._is_text = 0
        self._length = 0
        self._spans = (1, 1)
        self._depth = self._copies = 0

    def rows(self) -> Iterator[Row]:
        """Yield the rows that are not empty."""
        handlers = (self._start, self._end, self._text)
        for _ in self._archive.parse(_PART, handlers):
            check_depth(self._depth)
            for each in self._done:
                self._count_copies(each)
                for below in range(each.times):
                    yield Row(each.number + below, [*each.cells], each.is_hidden)
            self._done = []
            if self._is_over:
                return

    def _count_copies(self, row: _Repeated) -> None:
        self._copies += (row.times - 1) * len(row.cells)
        if self._copies > _MOST_COPIES:
            raise ListError(
                f"Row {row.number} is repeated too often: the sheet has more than"
                f" {_MOST_COPIES:,} cells that repeat others. Delete such rows."
            )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name == "style":
            self._style = attributes.get("style:name", "")
        elif name == "table-properties" and attributes.get("table:display") == "false":
            if len(self._hidden_styles) < _MOST_STYLES:
                self._hidden_styles.add(self._style)
        elif name == "table" and not self._is_over:
            self._is_open = attributes.get("table:style-name") not in self._hidden_styles
        elif self._is_open:
            self._start_inside(name, attributes)

    def _start_inside(self, name: str, attributes: dict[str, str]) -> None:
        if name in {"table-cell", "covered-table-cell"}:
            self._start_cell(attributes)
        elif name == "table-row":
            self._rows = _count(attributes.get("table:number-rows-repeated"))
            self._is_hidden = attributes.get("table:visibility") in _HIDDEN
            self._cells, self._column = [], 0
        elif name == "table-column":
            count = _count(attributes.get("table:number-columns-repeated"))
            if attributes.get("table:visibility") in _HIDDEN:
                self._spread.hide(self._next_column, self._next_column + count - 1)
            self._next_column += count
        else:
            self._start_text(name, attributes)

    def _start_cell(self, attributes: dict[str, str]) -> None:
        self._columns = _count(attributes.get("table:number-columns-repeated"))
        self._known = _known(attributes)
        self._paragraphs, self._length = [], 0
        self._spans = (
            _count(attributes.get("table:number-rows-spanned")),
            _count(attributes.get("table:number-columns-spanned")),
        )

    def _start_text(self, name: str, attributes: dict[str, str]) -> None:
        if name in {"annotation", "shape"}:
            self._aside += 1
        elif name in {"p", "h"} and not self._aside:
            self._is_text += 1
            self._paragraphs.append("")
            self._lengthen(1)
        elif name == "s":
            self._text(" " * min(_count(attributes.get("text:c")), 100))
        elif name in {"line-break", "tab"}:
            self._text("\n" if name == "line-break" else "\t")

    def _text(self, text: str) -> None:
        if self._is_text and not self._aside:
            self._paragraphs[-1] += text
            self._lengthen(len(text))

    def _lengthen(self, characters: int) -> None:
        self._length += characters
        check_length(self._next_row, self._length)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if not self._is_open:
            return
        if name in {"p", "h"} and not self._aside:
            self._is_text -= 1
        elif name in {"annotation", "shape"}:
            self._aside -= 1
        elif name in {"table-cell", "covered-table-cell"}:
            self._end_cell(self._known or "\n".join(self._paragraphs))
        elif name == "table-row":
            if self._cells:
                done = _Repeated(self._next_row, self._rows, self._cells, self._is_hidden)
                self._done.append(done)
            self._next_row += self._rows
        elif name == "table":
            self._is_open, self._is_over = False, True

    def _end_cell(self, text: str) -> None:
        if text and not text.isspace():
            end = self._column + self._columns
            check_width(self._next_row, end)
            self._cells.extend([""] * (self._column - len(self._cells)))
            self._cells.extend([text] * self._columns)
            check_length(self._next_row, sum(map(len, self._cells)))
            self._note_span()
        self._column += self._columns

    def _note_span(self) -> None:
        rows, columns = self._spans
        if (rows, columns) != (1, 1):
            right = self._column + columns - 1
            area = Area(self._next_row, self._next_row + rows - 1, self._column, right)
            self._spread.add(area)


def _known(attributes: dict[str, str]) -> str:
    """Return the full value of a cell that displays a shorter one."""
    kind = attributes.get("office:value-type")
    if kind in {"float", "currency"}:
        return values.number(attributes.get("office:value", ""))
    if kind == "date":
        return values.iso(attributes.get("office:date-value", ""))
    if kind == "boolean":
        return attributes.get("office:boolean-value", "").upper()
    return attributes.get("office:string-value", "") if kind == "string" else ""


def _count(text: str | None) -> int:
    """Return a repeat count, limited to the rows of a sheet."""
    if not text or not (text.isascii() and text.isdecimal()):
        return 1
    return min(int(text[:9]), _MOST_REPEATED)
