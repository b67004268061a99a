"""Tokens: the credentials of clients."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
    Index,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment, Object


class Token(Object, Base):
    """A credential of a client. Only its SHA-256 is stored.

    `scopes` are separated by spaces. `prefix` is the part that may be shown.
    """

    __tablename__ = "tokens"
    __table_args__ = (Index(None, "client_id"),)

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[str]
    expires_at: Mapped[int | None] = mapped_column(Moment)
    revoked_at: Mapped[int | None] = mapped_column(Moment)
