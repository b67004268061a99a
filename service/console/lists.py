"""Lists: a spreadsheet that was dropped on the form, as recipients with their values."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Final

from flask import render_template

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import forms
from service.console.access import Section, visitor
from service.console.language import gettext as _
from service.core.tokens import Scope
from service.errors import InvalidError
from service.lists import tables
from service.lists.base import Entry, ListError
from service.lists.tables import Table

blueprint = Section("lists", __name__)

_SHOWN: Final = 3
_MOST_VARIABLES: Final = 50


@blueprint.action("/lists", Scope.SEND)
def read() -> str:
    """Read a file, and answer with its columns and the field that carries its rows."""
    upload = request.files.get("file")
    if upload is None or not upload.filename:
        raise InvalidError(errors={"file": [_("Choose a file.")]})
    upload.stream.seek(0)
    try:
        table, rows = _rows(upload.stream, forms.text("column"))
    except ListError as error:
        raise InvalidError(errors={"file": [str(error)]}) from error
    return render_template(
        "console/_list.html",
        filename=upload.filename,
        table=table,
        column=table.names[table.numbers[0]] if table.numbers else "",
        total=len(rows),
        shown=rows[:_SHOWN],
        names=_names(rows),
        rows=json.dumps(rows, ensure_ascii=False, separators=(",", ":")),
    )


def _rows(file: Any, column: str) -> tuple[Table, list[dict[str, Any]]]:
    """Return a table and its rows as entries of `to`; an empty number is told as a bad one."""
    normalise, _reason = visitor().caller.numbering.way()
    table = tables.read(
        file,
        wanted={"to": column} if column else {},
        is_number=lambda text: normalise(text) is not None,
    )
    most = crier().settings.max_recipients
    return table, [_entry(each) for each in islice(table.entries, most + 1)]


def _entry(entry: Entry) -> dict[str, Any]:
    values = dict(islice(entry.values.items(), _MOST_VARIABLES))
    return {"to": entry.numbers[0] if entry.numbers else "", "variables": values}


def _names(rows: list[dict[str, Any]]) -> list[str]:
    """Return the names of the values that the first rows have."""
    found = dict.fromkeys(name for row in rows[:100] for name in row["variables"])
    return list(found)[:_MOST_VARIABLES]
