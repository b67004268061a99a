"""Files of contacts: a spreadsheet that becomes contacts, and all contacts as a file."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template

from service.blueprints import contact_files
from service.blueprints.lists import told
from service.console import forms, lists
from service.console.access import Section, visitor
from service.core import imports
from service.core.tokens import Scope
from service.errors import InvalidError
from service.schemas.contacts import Format, ImportSchema

blueprint = Section("contact_files", __name__)

_INVALID = 422


@blueprint.page("/contacts/import", Scope.SEND)
def new() -> str:
    """Ask for a file of contacts."""
    return _page()


@blueprint.action("/contacts/import", "contact.import")
def store() -> str | tuple[str, int]:
    """Store the contacts of a file, and show the result for its rows."""
    try:
        tags = forms.check(ImportSchema, {"tags": forms.lines("tags")}).get("tags", ())
        upload = forms.file("file")
        with told("file"):
            table = lists.table_of(upload, forms.text("column"))
        outcome = contact_files.store(table, visitor().caller.numbering, tags)
    except InvalidError as error:
        return _page(faults=error.errors), _INVALID
    return _page(outcome=outcome, filename=upload.filename)


@blueprint.page("/contacts/export.<any(csv, xlsx, ndjson):kind>")
def export(kind: str) -> Response:
    """Send all contacts as a file."""
    return contact_files.export(Format(kind))


def _page(**facts: Any) -> str:
    return render_template(
        "console/contact_import.html", **{"faults": {}, **facts}, most=imports.MOST
    )
