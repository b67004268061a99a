"""Tables as files that other programs read."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest

from service import spreadsheets
from service.spreadsheets import Cell, Page

COLUMNS = ("recipient", "attempts", "reason")
NASTY = 'é \U0001f600 <b>&amp; \x01\ud800 "quoted", \r\nnext'
PAGES: list[Page] = [[("12025550110", 1, None), ("12025550111", 2, NASTY)], [("x@g.us", 0, "=1")]]
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def sheets(file: bytes) -> list[list[list[str | None]]]:
    """Return the cells of a workbook, sheet by sheet, as the format says."""
    archive = zipfile.ZipFile(io.BytesIO(file))
    assert archive.testzip() is None
    listed = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - our own file
    found = []
    for number in range(1, len(listed[0]) + 1):
        root = ET.fromstring(archive.read(f"xl/worksheets/sheet{number}.xml"))  # noqa: S314 - as above
        rows = root.iter(f"{MAIN}row")
        found.append([["".join(cell.itertext()) or None for cell in row] for row in rows])
    return found


def test_csv_is_read_back_and_runs_nothing() -> None:
    read = list(csv.reader(io.StringIO(b"".join(spreadsheets.csv(COLUMNS, PAGES)).decode())))
    assert read[:2] == [list(COLUMNS), ["12025550110", "1", ""]]
    assert read[2][2] == NASTY.replace("\ud800", "?")
    assert read[3] == ["x@g.us", "0", "'=1"]
    assert next(spreadsheets.csv(["=HYPERLINK(1)"], [])) == b"'=HYPERLINK(1)\r\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_text_that_would_run_has_an_apostrophe_before_it(start: str) -> None:
    assert spreadsheets.safe(f"{start}1+1") == f"'{start}1+1"


@pytest.mark.parametrize("cell", ["1=1", "", None, -5, "a@b", "'=1"])
def test_any_other_cell_stays_as_it_is(cell: Cell) -> None:
    assert spreadsheets.safe(cell) == cell


def test_ndjson_has_an_object_a_line() -> None:
    lines = b"".join(spreadsheets.ndjson(COLUMNS, PAGES)).decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        dict(zip(COLUMNS, row, strict=True)) for page in PAGES for row in page
    ]


def test_a_workbook_is_read_back_with_all_its_texts() -> None:
    [sheet] = sheets(b"".join(spreadsheets.xlsx(COLUMNS, PAGES, most=3)))
    odd = NASTY.replace("\x01\ud800", "\ufffd\ufffd").replace("\r\n", "\n")
    assert sheet == [
        list(COLUMNS),
        ["12025550110", "1", None],
        ["12025550111", "2", odd],
        ["x@g.us", "0", "=1"],
    ]


def test_what_a_sheet_cannot_hold_goes_into_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "ROWS_OF_SHEET", 3)
    rows = [[(str(number),) for number in range(start, start + 3)] for start in (0, 3)]
    found = sheets(b"".join(spreadsheets.xlsx(("n",), rows, most=6)))
    assert found == [[["n"], [str(each)], [str(each + 1)]] for each in (0, 2, 4)]
    assert sheets(b"".join(spreadsheets.xlsx(("n",), [], most=0))) == [[["n"]]]


def test_a_long_table_takes_no_more_memory_than_a_short_one() -> None:
    def pages(count: int) -> Iterator[Page]:
        return ([("12025550110", 1, "Not on WhatsApp.")] * 1_000 for _ in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in spreadsheets.xlsx(COLUMNS, pages(count), most=count * 1_000):
            pass
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    assert peak(40) < 1.2 * peak(4)
