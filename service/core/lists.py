"""Lists: the people of a file as the recipients of a broadcast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.core import contacts, recipients
from service.core.recipient_lists import SHOWN, Recipients, Source
from service.core.recipients import Reading, Row
from service.lists.base import Entry
from service.lists.tables import Table


def read(table: Table, reading: Reading, *, most: int) -> Recipients:
    """Read the people of a file; raises ListError.

    A person with several numbers is reached by the first that is not a landline.
    """
    given: list[dict[str, object]] = []
    source = Source("recipients", lambda row: f"{table.place(row)}: ")
    rows = _rows(table.entries, reading, given)
    return recipients.read_rows(rows, reading, most=most, given=given, source=source)


def _rows(
    entries: Iterator[Entry], reading: Reading, given: list[dict[str, object]]
) -> Iterator[Row]:
    for row, numbers, values in entries:
        written = numbers[0] if len(numbers) == 1 else _best(numbers, reading)
        if len(given) <= SHOWN:
            given.append({"to": written, "variables": reading.kept(values)})
        yield Row(row, written, values)


def _best(numbers: Sequence[str], reading: Reading) -> str:
    """Return the number for messages to a person; the first one if none is suitable."""
    right = {number: each for each in numbers if (number := reading.read(each))}
    if not right:
        return numbers[0] if numbers else ""
    return right[contacts.reached_by([*right])]
