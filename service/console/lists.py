"""Lists: a spreadsheet dropped on the form, read as recipients with their values."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Final, cast

from flask import render_template
from werkzeug.datastructures import FileStorage

from service.blueprints.context import crier
from service.blueprints.lists import told
from service.console import forms
from service.console.access import Section, visitor
from service.core.tokens import Scope
from service.errors import InvalidError
from service.lists import tables
from service.lists.base import Entry
from service.lists.tables import Table

blueprint = Section("lists", __name__)

_SHOWN: Final = 3
_MOST_VARIABLES: Final = 50


@blueprint.action("/lists", "broadcast.preview", Scope.SEND)
def read() -> str:
    """Read a file, and answer with its columns and the field that carries its rows."""
    upload = forms.file("file")
    with told("file"):
        table = table_of(upload, forms.text("column"))
        most = crier().settings.max_recipients
        rows = [_entry(each) for each in islice(table.entries, most + 1)]
    columns = {
        "columns": [name for name in table.names if name] if table.numbers else (),
        "column": table.names[table.numbers[0]] if table.numbers else "",
    }
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    found = _shown(rows, upload.filename, text)
    return render_template("console/_list.html", list=found, **columns)


def carried() -> dict[str, Any] | None:
    """Return the display of the list in a form; None: no list, or a damaged one."""
    try:
        rows = forms.document("list", None)
    except InvalidError:
        return None
    are_rows = isinstance(rows, list) and all(
        isinstance(row, dict) and isinstance(row.get("variables"), dict) for row in rows
    )
    return _shown(rows, "", forms.text("list")) if are_rows and rows else None


def _shown(rows: list[dict[str, Any]], filename: str | None, carried: str) -> dict[str, Any]:
    """Return the display of a list, and the text that stores it in the form."""
    return {
        "filename": filename,
        "total": len(rows),
        "head": rows[:_SHOWN],
        "names": _names(rows),
        "rows": carried,
    }


def table_of(upload: FileStorage, column: str) -> Table:
    """Return the table of a file with its column of numbers, which is detected if not named.

    An empty number counts as a bad one. Raises ListError.
    """
    normalise, _reason = visitor().caller.numbering.way()
    upload.stream.seek(0)
    return tables.read(
        cast("Any", upload.stream),
        wanted={"to": column} if column else {},
        is_number=lambda text: normalise(text) is not None,
    )


def _entry(entry: Entry) -> dict[str, Any]:
    values = dict(islice(entry.values.items(), _MOST_VARIABLES))
    return {"to": entry.numbers[0] if entry.numbers else "", "variables": values}


def _names(rows: list[dict[str, Any]]) -> list[str]:
    """Return the names of the values that the first rows have."""
    found = dict.fromkeys(name for row in rows[:100] for name in row["variables"])
    return list(found)[:_MOST_VARIABLES]
