"""Audit entries: queries for clients and the operator, and the deletion of old entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import paging
from service.models import AuditEntry, Token


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """A filter of entries; None: all. Times are Unix milliseconds, `until` excluded."""

    client_id: str | None = None
    token_id: str | None = None
    action: str | None = None
    object_id: str | None = None
    since: int | None = None
    until: int | None = None

    def query(self) -> Select[AuditEntry]:
        """Return a query for these entries.

        An id begins with its time, so the query compares ids.
        """
        query = select(AuditEntry)
        for name in ("client_id", "token_id", "action", "object_id"):
            if (wanted := getattr(self, name)) is not None:
                query = query.where(getattr(AuditEntry, name) == wanted)
        if self.since is not None:
            query = query.where(AuditEntry.id >= ids.first(self.since))
        if self.until is not None:
            query = query.where(AuditEntry.id < ids.first(self.until))
        return query


def page(db: Db, wanted: AuditFilter, request: paging.PageRequest) -> paging.Page[AuditEntry]:
    """Return one page of entries."""
    return paging.fetch(db, wanted.query(), AuditEntry.id, request)


def newest(db: Db, wanted: AuditFilter, limit: int) -> Sequence[AuditEntry]:
    """Return the latest entries, newest first."""
    return db.scalars(wanted.query().order_by(AuditEntry.id.desc()).limit(limit)).all()


def actions(db: Db, client_id: str | None) -> Sequence[str]:
    """Return the actions that occur in the log, of one client or of all."""
    names = select(AuditEntry.action).distinct().order_by(AuditEntry.action)
    mine = names if client_id is None else names.where(AuditEntry.client_id == client_id)
    return db.scalars(mine).all()


def tokens_of(db: Db, entries: Iterable[AuditEntry]) -> dict[str, Token]:
    """Return the tokens that entries name and that still exist, by id."""
    wanted = {entry.token_id for entry in entries} - {None}
    found: Sequence[Any] = db.scalars(select(Token).where(Token.id.in_(wanted))).all()
    return {token.id: token for token in found}
