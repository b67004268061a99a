"""Reading lists of people: how long a million rows take, and how much memory.

python -m benchmarks.lists [ROWS]
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from service import spreadsheets
from service.core import lists, numbers
from service.core.recipients import Reading
from service.lists import tables
from service.models import SendType
from service.spreadsheets import Page

_COLUMNS = ("Phone", "Name", "City", "Code")
_PAGE = 2_000
_ROWS = 1_000_000


def main() -> None:
    """Write a list of each kind, read it as a broadcast does, and print a line."""
    rows = int(sys.argv[1]) if sys.argv[1:] else _ROWS
    with tempfile.TemporaryDirectory() as folder:
        for name, file in (
            ("CSV", spreadsheets.csv(_COLUMNS, _pages(rows))),
            ("XLSX", spreadsheets.xlsx(_COLUMNS, _pages(rows), most=rows)),
        ):
            path = Path(folder) / name
            with path.open("wb") as written:
                written.writelines(file)
            # Each in a process of its own: memory that was used once is not idle again.
            with multiprocessing.get_context("spawn").Pool(1) as process:
                seconds, megabytes = process.apply(_read, (path,))
            print(f"{name}: {rows:,} rows in {seconds:.1f} s, {megabytes:.0f} MB over idle")


def _pages(rows: int) -> Iterator[Page]:
    for start in range(0, rows, _PAGE):
        yield [
            (f"234803{at:07}", f"Ada {at}", f"Lagos {at % 1000}", f"C{at:07}")
            for at in range(start, min(start + _PAGE, rows))
        ]


def _read(path: Path) -> tuple[float, float]:
    """Return the seconds of processor time, and by how many megabytes the process has grown."""
    idle, began = _peak(), time.process_time()
    names = frozenset(_COLUMNS[1:])
    with path.open("rb") as file:
        table = tables.read(
            file, wanted={}, is_number=lambda text: numbers.normalise(text) is not None
        )
        lists.read(table, Reading(SendType.INDIVIDUAL, names), most=_ROWS)
    return time.process_time() - began, _peak() - idle


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
