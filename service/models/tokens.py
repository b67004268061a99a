"""Tokens: the credentials of clients and of their sessions."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
    Index,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment, Object


class Token(Object, Base):
    """A credential of a client, or of one of its sessions. Only its SHA-256 is stored.

    `session_id` is the session that it reaches, or did before that was deleted; null: everything of
    the client, within `scopes`, which are separated by spaces. `prefix` is the part that may be
    shown. `replaced_by` is the token that was made in its place. `last_used_at` is noted at most
    every ten minutes.
    """

    __tablename__ = "tokens"
    __table_args__ = (Index(None, "client_id"), Index(None, "session_id"))

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    session_id: Mapped[str | None] = mapped_column(Id)
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[str]
    expires_at: Mapped[int | None] = mapped_column(Moment)
    revoked_at: Mapped[int | None] = mapped_column(Moment)
    replaced_by: Mapped[str | None] = mapped_column(Id)
    last_used_at: Mapped[int | None] = mapped_column(Moment)

    @property
    def scope(self) -> str | None:
        """The widest of its scopes; None for a session's token."""
        words = self.scopes.split()
        return next((each for each in ("admin", "send", "read") if each in words), None)
