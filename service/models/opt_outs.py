"""Opt-outs: people who want no more messages."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class OptOutSource(StrEnum):
    """How an opt-out was made."""

    MANUAL = "manual"
    IMPORT = "import"
    KEYWORD = "keyword"
    PROVIDER = "provider"
    PREFERENCE = "preference"


class OptOut(Base):
    """A recipient who wants no more messages from a session; its broadcasts skip the recipient.

    `source` is null if a version before 1.1 stored it.
    """

    __tablename__ = "opt_outs"

    session_id: Mapped[str] = mapped_column(
        Id, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    )
    recipient: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[int] = mapped_column(Moment)
    source: Mapped[str | None]


class ClientOptOut(Base):
    """A recipient who wants no more messages from any session of a client."""

    __tablename__ = "client_opt_outs"

    client_id: Mapped[str] = mapped_column(
        Id, ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True
    )
    recipient: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[int] = mapped_column(Moment)
    source: Mapped[str | None]
