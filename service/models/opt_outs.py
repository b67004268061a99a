"""Opt-outs: who wants no more messages."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class OptOut(Base):
    """A recipient who wants no more messages from a session; its broadcasts leave them out."""

    __tablename__ = "opt_outs"

    session_id: Mapped[str] = mapped_column(
        Id, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    )
    recipient: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[int] = mapped_column(Moment)
