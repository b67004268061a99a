"""Sent parts: the delivery that belongs to a provider's message id."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id


class SentPart(Base):
    """The delivery and part that belong to a provider's message id.

    Only channels whose receipts do not return our reference need it.
    """

    __tablename__ = "sent_parts"

    session_id: Mapped[str] = mapped_column(
        Id, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    )
    message_id: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[str] = mapped_column(Id)
    part: Mapped[int]
