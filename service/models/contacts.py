"""Contacts, and the groups they are in."""

from __future__ import annotations

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Object


class Contact(Object, Base):
    """Somebody's card; phones are E.164 digits, the first one is where messages go.

    `channel` is a word of the client's own: the service only keeps it.
    """

    __tablename__ = "contacts"
    __table_args__ = (Index(None, "client_id", "id"),)

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    phones: Mapped[list[str]] = mapped_column(JSON)
    emails: Mapped[list[str]] = mapped_column(JSON)
    organisation: Mapped[str] = mapped_column(default="")
    channel: Mapped[str | None]
