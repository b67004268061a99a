"""Deliveries to entries that are not valid: failed from the start, so that reports have them."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service import ids
from service.core.recipient_lists import Recipients
from service.database import is_postgres
from service.models import Broadcast

CODE: Final = "invalid"
"""The code of these deliveries."""

MOST: Final = 100_000
"""The most of them in one broadcast: they are stored with it."""

_INSERT = """
    INSERT INTO deliveries
        (id, broadcast_id, recipient, status, attempts, due_at, updated_at, code, reason)
    SELECT {fields}, 'failed', 0, :now, :now, 'invalid', {reason} FROM {rows}
"""
_INSERT_POSTGRES = text(
    _INSERT.format(
        fields="value->>0, :broadcast_id, value->>1",
        reason="value->>2",
        rows="json_array_elements(CAST(:rows AS json)) AS r(value)",
    )
)
_INSERT_SQLITE = text(
    _INSERT.format(
        fields="json_extract(value, '$[0]'), :broadcast_id, json_extract(value, '$[1]')",
        reason="json_extract(value, '$[2]')",
        rows="json_each(:rows)",
    )
)


def texts(people: Recipients) -> dict[str, str]:
    """Return the invalid entries, each once, with the reason.

    An entry that is empty, or equal to a recipient, is named by its position.
    """
    if not people.bad:
        return {}
    known = frozenset(people.unique)
    found: dict[str, str] = {}
    for bad in people.bad:
        is_told = bad.entry and bad.entry not in known
        entry = bad.entry if is_told else f"{bad.entry} ({bad.position})".strip()
        found.setdefault(entry, f"{people.source.place(bad.position)}{bad.entry!r} {bad.reason}.")
    return found


def keep(db: Db, broadcast: Broadcast, people: Recipients) -> None:
    """Store failed deliveries for invalid entries after those of the recipients, and count them."""
    found = texts(people)
    if not found:
        return
    start = len(people.unique)
    rows = [
        (ids.delivery(broadcast.id, start + at), entry, reason)
        for at, (entry, reason) in enumerate(found.items())
    ]
    values = {"broadcast_id": broadcast.id, "now": broadcast.updated_at, "rows": json.dumps(rows)}
    db.execute(_INSERT_POSTGRES if is_postgres(db) else _INSERT_SQLITE, values)
    broadcast.failed = len(rows)
    db.flush()
