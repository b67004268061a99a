"""Sent parts: which delivery a provider's message id means."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id


class SentPart(Base):
    """Which part of which delivery a provider's message id means.

    Only for channels that do not give our reference back in their receipts.
    """

    __tablename__ = "sent_parts"

    session_id: Mapped[str] = mapped_column(
        Id, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    )
    message_id: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[str] = mapped_column(Id)
    part: Mapped[int]
