"""Receipts: later reports of providers, until they are applied."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service import ids
from service.models.base import Base, Id, Moment


class WaitingReceipt(Base):
    """A receipt that has arrived and is not applied yet.

    The webhook stores it and answers; a dispatcher applies it. `delivery_id` and `part` are set if
    the provider returned our reference. Otherwise `message_id` identifies them, together with
    `recipients`: the possible forms of the recipient, separated by spaces. For a failure, `kind` is
    the class of the error and `wait` its seconds. `due_at` is postponed while the delivery is still
    being sent.
    """

    __tablename__ = "waiting_receipts"
    __table_args__ = (Index(None, "session_id", "due_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new)
    session_id: Mapped[str] = mapped_column(Id, ForeignKey("sessions.id", ondelete="CASCADE"))
    delivery_id: Mapped[str | None] = mapped_column(Id)
    part: Mapped[int | None]
    message_id: Mapped[str]
    recipients: Mapped[str | None]
    state: Mapped[str]
    kind: Mapped[str | None]
    wait: Mapped[float | None]
    code: Mapped[str | None]
    reason: Mapped[str | None]
    opted_out: Mapped[bool] = mapped_column(default=False)
    pricing: Mapped[str | None]
    received_at: Mapped[int] = mapped_column(Moment)
    due_at: Mapped[int] = mapped_column(Moment)
