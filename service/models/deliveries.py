"""Deliveries: one broadcast for one recipient."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class DeliveryStatus(StrEnum):
    """The status of a delivery.

    `uncertain`: the provider may have the message. `held`: the provider has the message and holds
    it until it has assessed it; a receipt reports the result. `fallback`: another way has it, or
    is about to get it.
    """

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNCERTAIN = "uncertain"
    HELD = "held"
    FALLBACK = "fallback"


COUNTED: Final = (
    DeliveryStatus.SENT,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.READ,
    DeliveryStatus.FAILED,
    DeliveryStatus.CANCELLED,
    DeliveryStatus.UNCERTAIN,
)
"""The statuses that a broadcast counts, in counters of the same names."""


class Delivery(Base):
    """One broadcast for one recipient.

    The id comes from `ids.delivery`. `due_at` is when it may be sent next. `claim_id` is the
    dispatcher that is sending it. `message_ids` has the provider's ids of the accepted parts,
    separated by spaces, in the order of the parts. `progress` has a letter for each part that has a
    receipt. `core.deliveries.progress` reads both. `variables` is a JSON object of texts for the
    placeholders of this recipient.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("broadcast_id", "recipient"),
        Index(None, "broadcast_id", "status", "id"),
        Index(None, "recipient", "id"),
        Index(
            "ix_deliveries_refused",
            "broadcast_id",
            "status",
            "code",
            "id",
            sqlite_where=text("status IN ('failed', 'uncertain')"),
            postgresql_where=text("status IN ('failed', 'uncertain')"),
        ),
        Index(
            "ix_deliveries_queued",
            "broadcast_id",
            "due_at",
            "id",
            sqlite_where=text("status = 'queued'"),
            postgresql_where=text("status = 'queued'"),
        ),
        Index(
            "ix_deliveries_claimed",
            "claim_id",
            sqlite_where=text("status = 'sending'"),
            postgresql_where=text("status = 'sending'"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    broadcast_id: Mapped[str] = mapped_column(Id, ForeignKey("broadcasts.id", ondelete="CASCADE"))
    recipient: Mapped[str]
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[int] = mapped_column(Moment)
    claim_id: Mapped[str | None] = mapped_column(Id)
    message_ids: Mapped[str | None]
    progress: Mapped[str | None]
    code: Mapped[str | None]
    reason: Mapped[str | None]
    pricing: Mapped[str | None]
    sent_at: Mapped[int | None] = mapped_column(Moment)
    delivered_at: Mapped[int | None] = mapped_column(Moment)
    read_at: Mapped[int | None] = mapped_column(Moment)
    updated_at: Mapped[int] = mapped_column(Moment)
    variables: Mapped[str | None]
