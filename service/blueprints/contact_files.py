"""Files of contacts: imports and exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from flask import Response
from sqlalchemy.orm.exc import StaleDataError

from service import spreadsheets
from service.blueprints import lists, long_answers
from service.blueprints.context import caller, crier
from service.core import contact_exports, contacts, imports, usages
from service.core.imports import Card, Written
from service.core.numbering import Numbering
from service.database import now_ms
from service.lists.tables import Table
from service.models import Contact
from service.schemas.contacts import MIMETYPES, Format

_MOST_REPEATS: Final = 9
"""How often contacts are written again that others change at the same time."""

_COLUMNS: Final = ("number", "name", "other_numbers", "emails", "organisation", "tags")


def store(table: Table, numbering: Numbering, tags: Sequence[str]) -> dict[str, Any]:
    """Store the contacts of a list, and count what happened to its rows.

    Raises InvalidError under `contacts`, and LimitError.
    """
    with lists.told("contacts"):
        found = imports.read(table, numbering, tags)
    with crier().database.reading() as db:
        wanted = imports.amounts(db, caller().client_id, found)
        usages.foresee(db, caller().client_id, crier().settings, now=now_ms(), **wanted)
    written = Written()
    for cards in imports.batches(found):
        written += _write(caller().client_id, cards)
    refused = [{"row": row, "place": table.place(row), "reason": why} for row, why in found.refused]
    counts = {"duplicates": found.duplicates, "refused_count": found.refused_count}
    return {**written._asdict(), **counts, "refused": refused}


def _write(client_id: str, cards: Sequence[tuple[str, Card]]) -> Written:
    """Write some contacts; try again if somebody changes one of them at the same time."""
    for _ in range(_MOST_REPEATS):
        with suppress(StaleDataError), crier().database.writing() as db:
            return imports.write(db, client_id, cards)
    with crier().database.writing() as db:
        return imports.write(db, client_id, cards)


def export(kind: Format) -> Response:
    """Return all contacts of the caller as a file, the oldest first; raises TooManyAnswersError."""
    client_id = caller().client_id
    read = partial(contact_exports.page, client_id=client_id)
    found = long_answers.pages(read, contact_exports.PAGE)
    with crier().database.reading() as db:
        fields = [] if kind == Format.NDJSON else contact_exports.names(db, client_id)
        total = contacts.count(db, client_id)
    pages = ([_exported(contact, fields, kind) for contact in some] for some in found)
    content = _written(kind, fields, pages, total)
    return long_answers.file(content, MIMETYPES[kind], f"contacts.{kind}")


def _written(
    kind: Format, fields: list[str], pages: Iterator[spreadsheets.Page], total: int
) -> Iterator[bytes]:
    if kind == Format.NDJSON:
        return spreadsheets.ndjson((*_COLUMNS, "fields"), pages)
    columns = (*_COLUMNS, *fields)
    if kind == Format.CSV:
        return spreadsheets.csv(columns, pages)
    return spreadsheets.xlsx(columns, pages, most=total)


def _exported(contact: Contact, fields: list[str], kind: Format) -> Sequence[Any]:
    own = contact.fields or {}
    lists = (contact.phones[1:], contact.emails, contact.tags or [])
    is_nested = kind == Format.NDJSON
    others, emails, tags = lists if is_nested else map(", ".join, lists)
    known = (contact.phones[0], contact.name, others, emails, contact.organisation, tags)
    return (*known, own) if is_nested else (*known, *(own.get(name) for name in fields))
