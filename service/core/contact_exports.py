"""Exports of contacts: all contacts of a client, page by page, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.core import owned
from service.database import is_postgres
from service.errors import InvalidError
from service.models import Contact

PAGE: Final = 1_000
"""Contacts of a page."""

MOST_FIELDS: Final = 900
"""The most columns of fields: an import takes 1,000 columns."""

_NAMES = """
    SELECT DISTINCT key FROM contacts, {keys}(contacts.fields) AS each{columns}
    WHERE contacts.client_id = :client_id LIMIT :limit
"""
_NAMES_POSTGRES = text(_NAMES.format(keys="json_object_keys", columns="(key)"))
_NAMES_SQLITE = text(_NAMES.format(keys="json_each", columns=""))


def page(db: Db, after: Contact | None, *, client_id: str) -> Sequence[Contact]:
    """Return the contacts `after` one, None: from the first. Only the last page is below `PAGE`."""
    mine = owned.mine(Contact, client_id)
    if after is not None:
        mine = mine.where(Contact.id > after.id)
    return db.scalars(mine.order_by(Contact.id).limit(PAGE)).all()


def names(db: Db, client_id: str) -> list[str]:
    """Return the names of the fields that any contact has; raises InvalidError for too many."""
    values = {"client_id": client_id, "limit": MOST_FIELDS + 1}
    found = db.scalars(_NAMES_POSTGRES if is_postgres(db) else _NAMES_SQLITE, values).all()
    if len(found) > MOST_FIELDS:
        reason = f"Your contacts have more than {MOST_FIELDS} different fields. Export `ndjson`."
        raise InvalidError(errors={"format": [reason]})
    return sorted(found)
