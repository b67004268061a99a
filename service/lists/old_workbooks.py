"""Workbooks of Excel 5.0 to 2003 (XLS), which have at most 65,536 rows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, Final

import xlrd
from xlrd.sheet import Cell, Sheet

from service.lists import values
from service.lists.base import ListError, Row, check_length, check_width, storable
from service.lists.spreads import Area, MergedCells

MOST_BYTES: Final = 32 * 1024 * 1024
"""Maximum bytes of an XLS workbook, because it is read into memory."""

_LOCKED: Final = "EncryptedPackage".encode("utf-16-le")
"""The name of the content in a password-protected workbook since Excel 2007."""


def read(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of the first visible sheet; raises ListError."""
    content = file.read(MOST_BYTES + 1)
    if _LOCKED in content:
        raise ListError("The workbook is protected by a password: save it without one.")
    if len(content) > MOST_BYTES:
        raise ListError(
            f"An XLS workbook may have at most {MOST_BYTES:,} bytes: save it as XLSX or CSV."
        )
    return _rows(content)


def _rows(content: bytes) -> Iterator[Row]:
    try:
        book = xlrd.open_workbook(
            file_contents=content, logfile=io.StringIO(), formatting_info=True, ragged_rows=True
        )
        sheet = _first_shown(book)
        spread = MergedCells(
            Area(top + 1, bottom, left, right - 1)
            for top, bottom, left, right in sheet.merged_cells
        )
        for column, info in sheet.colinfo_map.items():
            if info.hidden:
                spread.hide(column, column)
        yield from spread.fill(_cells(sheet, book.datemode))
    except ListError:
        raise
    # The library documents no exception class for damaged files.
    except Exception as error:
        locked = "encrypt" in str(error).lower()
        reason = "is protected by a password" if locked else "is damaged"
        raise ListError(f"The XLS workbook {reason}: save it as XLSX or CSV.") from error


def _first_shown(book: xlrd.Book) -> Sheet:
    sheet = next((each for each in book.sheets() if not each.visibility), None)
    if sheet is None:
        raise ListError("The workbook has no visible sheet.")
    return sheet


def _cells(sheet: Sheet, datemode: int) -> Iterator[Row]:
    for index in range(sheet.nrows):
        number = index + 1
        cells = [_text(cell, datemode) for cell in sheet.row(index)]
        while cells and not cells[-1].strip():
            cells.pop()
        if not cells:
            continue
        check_width(number, len(cells))
        check_length(number, sum(map(len, cells)))
        info = sheet.rowinfo_map.get(index)
        yield Row(number, cells, is_hidden=bool(info and info.hidden))


def _text(cell: Cell, datemode: int) -> str:
    if cell.ctype == xlrd.XL_CELL_NUMBER:
        return values.number(repr(cell.value))
    if cell.ctype == xlrd.XL_CELL_DATE:
        return values.date(repr(cell.value), since_1904=bool(datemode))
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return "TRUE" if cell.value else "FALSE"
    return storable(str(cell.value)) if cell.ctype == xlrd.XL_CELL_TEXT else ""
