"""Receipts: later reports of providers, until they are applied."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from service import ids
from service.models.base import Base, Id, Moment


class WaitingReceipt(Base):
    """Receipts that have arrived together and are not applied yet.

    The webhook stores them and answers; a dispatcher applies them. `words` is a JSON list of `size`
    receipts, as `core.waiting` writes it. `due_at` is postponed while their deliveries are still
    being sent. Version 1.0 stores one receipt in the other columns, and no words; it passes over
    the rows that have some. They go with the next version.
    """

    __tablename__ = "waiting_receipts"
    __table_args__ = (Index(None, "session_id", "due_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=ids.new)
    session_id: Mapped[str] = mapped_column(Id, ForeignKey("sessions.id", ondelete="CASCADE"))
    words: Mapped[str | None]
    size: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    received_at: Mapped[int] = mapped_column(Moment)
    due_at: Mapped[int] = mapped_column(Moment)

    delivery_id: Mapped[str | None] = mapped_column(Id)
    part: Mapped[int | None]
    message_id: Mapped[str] = mapped_column(default="")
    recipients: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="")
    kind: Mapped[str | None]
    wait: Mapped[float | None]
    code: Mapped[str | None]
    reason: Mapped[str | None]
    opted_out: Mapped[bool] = mapped_column(default=False)
