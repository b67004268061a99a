"""Audit entries: who did what, with which token and from where."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from service import ids
from service.models.base import Base, Id, Moment


class ActionSource(StrEnum):
    """The way by which somebody did something."""

    API = "api"
    CONSOLE = "console"
    COMMAND = "command"


class AuditEntry(Base):
    """Something that was done. It has no foreign keys: it outlives what it names.

    `client_id` is null if no single client is concerned, such as for `flask purge`. `object_id` is
    what was changed. `changed` has the names of changed columns, separated by commas. `address` is
    an IP address, or the user and the machine of a command.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index(None, "client_id", "id"),
        Index(None, "object_id"),
        Index(None, "token_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new)
    created_at: Mapped[int] = mapped_column(Moment)
    client_id: Mapped[str | None] = mapped_column(Id)
    action: Mapped[str]
    source: Mapped[str]
    object_id: Mapped[str | None] = mapped_column(Id)
    token_id: Mapped[str | None] = mapped_column(Id)
    address: Mapped[str | None]
    request_id: Mapped[str | None]
    changed: Mapped[str | None]
    detail: Mapped[str | None]
