"""Tables as files: CSV, NDJSON and XLSX, written while they are sent.

Rows come in pages, and each page becomes a chunk of the file: a table of a million rows takes no
more memory than one of a thousand.
"""

from __future__ import annotations

import csv as csv_files
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Final, cast
from xml.sax.saxutils import escape

Cell = str | int | None
Page = Sequence[Sequence[Cell]]

ROWS_OF_SHEET: Final = 1_048_576
"""The most rows of a sheet in XLSX, that of the names of columns among them."""

_ACTIVE: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet program takes a cell of CSV for a formula by
(https://owasp.org/www-community/attacks/CSV_Injection)."""

_SPECIAL: Final = re.compile(r"[&<>\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NO_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def safe(cell: Cell) -> Cell:
    """Put an apostrophe before a text that a spreadsheet program would run as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_ACTIVE) else cell


def csv(columns: Sequence[str], pages: Iterable[Page]) -> Iterator[bytes]:
    """Yield a file of CSV as RFC 4180 has it, in UTF-8, with a first row of names."""
    yield _csv_rows([[safe(name) for name in columns]])
    for page in pages:
        yield _csv_rows([safe(cell) for cell in row] for row in page)


def ndjson(columns: Sequence[str], pages: Iterable[Page]) -> Iterator[bytes]:
    """Yield a JSON object a row, each on a line of its own."""
    for page in pages:
        lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in page)
        yield "".join(f"{line}\n" for line in lines).encode()


def xlsx(columns: Sequence[str], pages: Iterable[Page], *, most: int) -> Iterator[bytes]:
    """Yield a workbook with as many sheets as `most` rows need; its texts are never formulas.

    ECMA-376 describes the format; its strings are inline, so nothing is gathered for the end.
    """
    sink = _Sink()
    with zipfile.ZipFile(
        cast("IO[bytes]", sink), "w", zipfile.ZIP_DEFLATED, compresslevel=1
    ) as archive:
        rows = _Rows(columns, pages)
        sheets = max(1, -(-most // (ROWS_OF_SHEET - 1)))
        for name, content in _frame(sheets):
            archive.writestr(name, content)
        for number in range(1, sheets + 1):
            with archive.open(_sheet(number), "w", force_zip64=True) as sheet:
                sheet.write(_SHEET_START)
                for chunk in rows.of_sheet():
                    sheet.write(chunk)
                    yield sink.take()
                sheet.write(_SHEET_END)
    yield sink.take()


def _csv_rows(rows: Iterable[Sequence[Cell]]) -> bytes:
    text = io.StringIO(newline="")
    csv_files.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


class _Sink(io.RawIOBase):
    """What an archive is written to, and taken from piece by piece; it cannot be rewound."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: Any) -> int:
        """Keep what is written."""
        self._written.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self._written)
        self._written.clear()
        return taken


class _Rows:
    """The rows of all pages, sheet by sheet."""

    def __init__(self, columns: Sequence[str], pages: Iterable[Page]) -> None:
        self._columns = columns
        self._pages = iter(pages)
        self._left: Page = ()

    def of_sheet(self) -> Iterator[bytes]:
        """Yield the rows of the next sheet: the names of columns, then as many as it holds."""
        yield _xlsx_rows([self._columns])
        room = ROWS_OF_SHEET - 1
        while room and (page := self._left or next(self._pages, ())):
            page, self._left = page[:room], page[room:]
            room -= len(page)
            yield _xlsx_rows(page)


def _xlsx_rows(rows: Iterable[Sequence[Cell]]) -> bytes:
    return "".join(f"<row>{''.join(map(_xlsx_cell, row))}</row>" for row in rows).encode()


def _xlsx_cell(cell: Cell) -> str:
    if cell is None:
        return "<c/>"
    if isinstance(cell, int):
        return f"<c><v>{cell}</v></c>"
    if _SPECIAL.search(cell):
        cell = escape(_NO_XML.sub("\ufffd", cell))
    return f'<c t="inlineStr"><is><t xml:space="preserve">{cell}</t></is></c>'


_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEETS: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_SHEET_START: Final = f'{_DECLARATION}<worksheet xmlns="{_SHEETS}"><sheetData>'.encode()
_SHEET_END: Final = b"</sheetData></worksheet>"


def _sheet(number: int) -> str:
    return f"xl/worksheets/sheet{number}.xml"


def _frame(sheets: int) -> Iterator[tuple[str, str]]:
    """Yield the files of a workbook that say which sheets there are."""
    numbers = range(1, sheets + 1)
    types = "".join(
        f'<Override PartName="/{_sheet(each)}" ContentType="{_TYPE}.worksheet+xml"/>'
        for each in numbers
    )
    content_types = (
        f'{_DECLARATION}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f"{types}</Types>"
    )
    yield "[Content_Types].xml", content_types
    yield "_rels/.rels", _relationships([("officeDocument", "xl/workbook.xml")])
    listed = "".join(
        f'<sheet name="Sheet{each}" sheetId="{each}" r:id="rId{each}"/>' for each in numbers
    )
    workbook = (
        f'<workbook xmlns="{_SHEETS}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>'
    )
    yield "xl/workbook.xml", f"{_DECLARATION}{workbook}"
    targets = [("worksheet", f"worksheets/sheet{each}.xml") for each in numbers]
    yield "xl/_rels/workbook.xml.rels", _relationships(targets)


def _relationships(targets: Iterable[tuple[str, str]]) -> str:
    listed = "".join(
        f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'{_DECLARATION}<Relationships xmlns="{_PACKAGE}/relationships">{listed}</Relationships>'
