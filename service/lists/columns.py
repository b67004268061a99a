"""Columns: find the heading row of a grid, and the columns with phone numbers.

The first rows decide both. If there are two possibilities, the error asks; the code never guesses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from service.lists import looks
from service.lists.base import ListError, Row, letters

SAMPLE: Final = 200
"""How many rows are examined."""

NUMBER: Final = "to"
"""The key of the numbers in `columns`."""

_LONGEST_HEADING: Final = 100
_SHOWN: Final = 30
_EXPORTED: Final = (
    frozenset({"phone 1 - value"}),  # Google's contacts
    frozenset({"first name", "last name", "mobile phone", "home phone"}),  # Outlook's
)
"""Headings that identify a known export, whose number columns all belong to one person."""

_SURE, _UNLIKELY = 0.8, 0.2
"""Shares of valid phone numbers that distinguish a phone column from other numbers."""


class Layout(NamedTuple):
    """The columns of a grid.

    `heading` is the number of the heading row, or 0. `names` has an empty text for a column without
    a name. `numbers` are the columns with phone numbers, the preferred one first.
    """

    heading: int
    names: list[str]
    numbers: tuple[int, ...]


def settle(
    sample: Sequence[Row],
    wanted: Mapping[str, str],
    is_number: Callable[[str], bool],
    names: list[str] | None = None,
) -> Layout:
    """Return the layout of a grid from its first rows; `names` are the columns, if known.

    `wanted` maps names of values, and `to`, to headings or letters of columns. `is_number` returns
    whether a text is a phone number in use. Raises ListError, which says what to do.
    """
    if not sample:
        raise ListError("The file has no rows with anything in them.")
    heading = None if names is not None else _heading(sample, wanted)
    data = [row for row in sample if heading is None or row.number > heading.number]
    if names is None:
        names = _names(heading, data)
    numbers = _numbers(names, data, wanted, is_number)
    _rename(names, wanted)
    return Layout(heading.number if heading else 0, names, numbers)


def _heading(sample: Sequence[Row], wanted: Mapping[str, str]) -> Row | None:
    """Return the heading row: the one above the first number, if there is one."""
    given = {looks.plain(name) for name in wanted.values()}
    for row in sample:
        names = set(map(looks.plain, row.cells))
        if given and given <= names:
            return row
    above: Row | None = None
    for at, row in enumerate(sample):
        if any(map(looks.like_number, row.cells)):
            return above if above is not None and _is_heading(above, row) else None
        if not _is_title(row, sample[at + 1 :]):
            above = row
            if any(map(looks.names_number, row.cells)):
                return row
    return sample[0]


def _is_title(row: Row, below: Sequence[Row]) -> bool:
    """Return whether a row is a title, a single text that may be merged over all columns."""
    return len(_said(row)) == 1 and any(len(_said(other)) > 1 for other in below)


def _is_heading(above: Row, row: Row) -> bool:
    """Return whether a row may be the heading of the row below, rather than data."""
    return 2 * len(_said(above)) >= len(_said(row))


def _said(row: Row) -> set[str]:
    return set(filter(None, map(str.strip, row.cells)))


def _names(heading: Row | None, data: Iterable[Row]) -> list[str]:
    """Return the names of columns: their headings, or else their letters."""
    if heading is None:
        return [letters(column) for column in range(max(len(row.cells) for row in data))]
    names = [" ".join(cell.split())[:_LONGEST_HEADING] for cell in heading.cells]
    known = Counter(looks.plain(name) for name in names if name)
    for name, count in known.items():
        if count > 1:
            _refuse_twice(names, name)
    return names


def _refuse_twice(names: Sequence[str], twice: str) -> None:
    places = [letters(at) for at, name in enumerate(names) if looks.plain(name) == twice]
    shown = next(name for name in names if looks.plain(name) == twice)
    raise ListError(
        f"Columns {_and(places)} are both named {shown[:_SHOWN]!r}: rename one, or delete it."
    )


def _numbers(
    names: Sequence[str],
    data: Sequence[Row],
    wanted: Mapping[str, str],
    is_number: Callable[[str], bool],
) -> tuple[int, ...]:
    if NUMBER in wanted:
        return (_find(names, wanted[NUMBER]),)
    exact = [at for at, name in enumerate(names) if looks.plain(name) == NUMBER]
    if exact:
        return (exact[0],)
    named = [at for at, name in enumerate(names) if looks.names_number(name)]
    filled = [at for at in named if _share(data, at, looks.like_number) > 0] or named
    if len(filled) > 1 and _is_export(names):
        return tuple(sorted(filled, key=lambda at: not looks.names_mobile(names[at])))
    return (_only(names, filled or _by_content(names, data, is_number)),)


def _is_export(names: Sequence[str]) -> bool:
    known = set(map(looks.plain, names))
    return any(marks <= known for marks in _EXPORTED)


def _by_content(
    names: Sequence[str], data: Sequence[Row], is_number: Callable[[str], bool]
) -> list[int]:
    """Return the columns whose cells look like phone numbers, narrowed down as far as possible."""
    alike = [
        at
        for at in range(max((len(row.cells) for row in data), default=0))
        if _share(data, at, looks.like_number) * 2 >= 1 and (at < len(names) and names[at])
    ]
    if len(alike) < 2:  # noqa: PLR2004 - fewer than two columns need no choice
        return alike
    weakly = [at for at in alike if looks.may_name_number(names[at])]
    if len(weakly) == 1:
        return weakly
    real = {at: _share(data, at, is_number) for at in alike}
    sure = [at for at in alike if real[at] >= _SURE]
    doubtful = [at for at in alike if _UNLIKELY < real[at] < _SURE]
    return sure if len(sure) == 1 and not doubtful else alike


def _share(data: Iterable[Row], column: int, fits: Callable[[str], bool]) -> float:
    """Return the share of a column's non-empty cells that fit."""
    cells = [row.cells[column] for row in data if column < len(row.cells) and row.cells[column]]
    return sum(map(fits, cells)) / len(cells) if cells else 0.0


def _only(names: Sequence[str], found: Sequence[int]) -> int:
    """Return the only column found; raises ListError if there is none or more than one."""
    if len(found) == 1:
        return found[0]
    columns = [_shown(names, at) for at in found or range(len(names)) if names[at]][:_SHOWN]
    if not found:
        raise ListError(
            f"No column looks like telephone numbers. There are {_and(columns)}: name the one with"
            f' the numbers, such as "columns": {{"to": {_json(names, range(len(names)))}}}.'
        )
    raise ListError(
        f"Columns {_and(columns)} may both be the numbers: name the right one, such as"
        f' "columns": {{"to": {_json(names, found)}}}.'
    )


def _json(names: Sequence[str], found: Iterable[int]) -> str:
    first = next((names[at] for at in found if names[at]), "A")
    return f'"{first[:_SHOWN]}"'


def _find(names: Sequence[str], wanted: str) -> int:
    """Return the column of a heading or a letter; raises ListError."""
    plain = looks.plain(wanted)
    for at, name in enumerate(names):
        if name and looks.plain(name) == plain:
            return at
    for at in range(len(names)):
        if letters(at).lower() == plain:
            return at
    columns = [_shown(names, at) for at, name in enumerate(names) if name][:_SHOWN]
    raise ListError(f"There is no column {wanted[:_SHOWN]!r}. There are {_and(columns)}.")


def _rename(names: list[str], wanted: Mapping[str, str]) -> None:
    """Rename columns to the requested names."""
    for name, heading in wanted.items():
        if name != NUMBER:
            names[_find(names, heading)] = name


def _shown(names: Sequence[str], at: int) -> str:
    return f'{letters(at)} ("{names[at][:_SHOWN]}")' if names[at] else letters(at)


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
