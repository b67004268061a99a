"""Records: one JSON object per line (NDJSON), such as `{"to": "12025550110", "name": "Ada"}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from service import documents
from service.documents import UnreadableDocumentError
from service.lists.base import LONGEST_ROW, ListError, Row, check_length, check_width

_MOST_BRACKETS: Final = 100
_NESTED: Final = ("variables", "fields")
"""Objects whose members count as the record's own, as in entries of `to` and in contacts."""


def read(file: BinaryIO, names: list[str]) -> Iterator[Row]:
    """Yield records as rows. Their columns are `names`, which grows with each new name.

    Raises ListError.
    """
    columns = {name: column for column, name in enumerate(names)}
    lines = iter(lambda: file.readline(4 * LONGEST_ROW), b"")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _record(number, line.removeprefix(b"\xef\xbb\xbf"))
        for name in record:
            if name not in columns:
                columns[name] = len(names)
                names.append(name)
                check_width(number, len(names))
        cells = [""] * len(names)
        for name, text in record.items():
            cells[columns[name]] = text
        check_length(number, sum(map(len, cells)))
        if any(cells):
            yield Row(number, cells)


def _record(number: int, line: bytes) -> dict[str, str]:
    try:
        value = documents.read(line, most_brackets=_MOST_BRACKETS)
    except UnreadableDocumentError as error:
        raise ListError(
            f"Line {number} is not valid JSON: {error}. Each line must be one object."
        ) from error
    if not isinstance(value, dict):
        raise ListError(f'Line {number} is not an object, such as {{"to": "12025550110"}}.')
    return {name: _text(number, name, said) for name, said in _members(value).items()}


def _members(value: dict[str, Any]) -> dict[str, Any]:
    inner = [value[name] for name in _NESTED if isinstance(value.get(name), dict)]
    if not inner:
        return value
    own = {name: said for name, said in value.items() if not isinstance(said, dict)}
    return {name: said for each in (*inner, own) for name, said in each.items()}


def _text(number: int, name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    raise ListError(f"Line {number}: {name[:64]!r} must be a string or a number.")
