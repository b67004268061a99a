"""Charges: how a provider charges the deliveries of a broadcast, as its receipts say."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id


class Charge(Base):
    """How many deliveries of a broadcast to a country are charged alike.

    `pricing` is that of the deliveries, such as `PMP regular marketing billable`.
    """

    __tablename__ = "charges"

    broadcast_id: Mapped[str] = mapped_column(
        Id, ForeignKey("broadcasts.id", ondelete="CASCADE"), primary_key=True
    )
    pricing: Mapped[str] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(primary_key=True)
    deliveries: Mapped[int]
