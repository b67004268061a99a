"""Due ways: the deliveries whose ways have to be looked at."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class DueWay(Base):
    """A moment at which the ways of a delivery have to be looked at.

    `broadcast_id` and `delivery_id` are those that the client knows. A delivery may have several
    rows: they are only inserted and deleted, so that nobody waits for a row that another one holds.
    While a broadcast has any, it is not completed.
    """

    __tablename__ = "due_ways"
    __table_args__ = (
        Index(None, "due_at", "id"),
        Index(None, "broadcast_id"),
        Index(None, "delivery_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    broadcast_id: Mapped[str] = mapped_column(Id)
    delivery_id: Mapped[str] = mapped_column(Id)
    due_at: Mapped[int] = mapped_column(Moment)
