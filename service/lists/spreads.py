"""Merged cells: their value counts for every row and column that they cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from service.lists.base import MOST_COLUMNS, ListError, Row

MOST_MERGED: Final = 100_000
"""Maximum merged areas of one sheet."""


class Area(NamedTuple):
    """A rectangle of merged cells: first and last row from 1, first and last column from 0."""

    top: int
    bottom: int
    left: int
    right: int


class MergedCells:
    """Fills the cells of each merged area with the value of its first cell.

    Hidden cells are removed afterwards, because an area may begin in one.
    """

    def __init__(self, areas: Iterable[Area] = ()) -> None:
        self.hidden: set[int] = set()
        self._starting: defaultdict[int, list[Area]] = defaultdict(list)
        self._open: list[tuple[Area, str]] = []
        self._count = 0
        for area in areas:
            self.add(area)

    def add(self, area: Area) -> None:
        """Add an area before its first row is filled; raises ListError if there are too many."""
        self._count += 1
        if self._count > MOST_MERGED:
            raise ListError(
                f"The sheet has more than {MOST_MERGED:,} merged areas: unmerge its cells."
            )
        area = area._replace(right=min(area.right, MOST_COLUMNS - 1))
        if area.left <= area.right:
            self._starting[area.top].append(area)

    def hide(self, first: int, last: int) -> None:
        """Add hidden columns, counted from 0."""
        self.hidden.update(range(first, min(last, MOST_COLUMNS) + 1))

    def fill(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the visible rows, with merged cells filled and hidden cells emptied."""
        for row in rows:
            if self._starting or self._open:
                self._enter(row)
                for area, text in self._open:
                    _fill(row.cells, area, text)
            if row.is_hidden:
                continue
            for column in self.hidden:
                if column < len(row.cells):
                    row.cells[column] = ""
            if any(row.cells):
                yield row

    def _enter(self, row: Row) -> None:
        """Drop the areas that ended above a row, and add those that begin in it."""
        self._open = [each for each in self._open if each[0].bottom >= row.number]
        entered = self._starting.pop(row.number, ())
        for area in entered:
            text = row.cells[area.left] if area.left < len(row.cells) else ""
            if text:
                self._open.append((area, text))
        if entered and sum(map(_width, self._open)) > MOST_COLUMNS:
            raise ListError(f"Row {row.number} has merged areas that overlap: undo the merging.")


def _width(opened: tuple[Area, str]) -> int:
    area, _ = opened
    return area.right - area.left + 1


def _fill(cells: list[str], area: Area, text: str) -> None:
    width = area.right + 1
    cells.extend([""] * (width - len(cells)))
    cells[area.left : width] = [text] * (width - area.left)
