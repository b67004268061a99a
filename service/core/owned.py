"""Queries for objects of one client. They never return another client's objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.errors import NotFoundError, StaleVersionError

T = TypeVar("T", bound=Any)


def mine(table: type[T], client_id: str) -> Select[T]:
    """Return a query for a client's objects in a table."""
    return select(table).where(table.client_id == client_id)


def get(db: Db, table: type[T], client_id: str, object_id: str) -> T:
    """Return a client's object; raises NotFoundError, also if another client owns it."""
    found: T | None = None
    if ids.is_id(object_id):
        found = db.scalar(mine(table, client_id).where(table.id == object_id))
    if found is None:
        raise NotFoundError(table.__name__.lower(), object_id)
    return found


def check_version(row: Any, fields: Mapping[str, Any]) -> None:
    """Raise StaleVersionError if a change names an outdated `version`."""
    if fields.get("version", row.version) != row.version:
        raise StaleVersionError
