"""Revoked claims: claimed deliveries that a dispatcher must no longer begin."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class RevokedClaim(Base):
    """A claim whose recipient has since opted out. Its dispatcher deletes the row after reading it.

    `claimed_at` is the time of the claim. It distinguishes later claims on the same delivery.
    """

    __tablename__ = "revoked_claims"
    __table_args__ = (Index(None, "claim_id"),)

    delivery_id: Mapped[str] = mapped_column(Id, primary_key=True)
    claimed_at: Mapped[int] = mapped_column(Moment, primary_key=True, autoincrement=False)
    claim_id: Mapped[str] = mapped_column(Id, ForeignKey("dispatchers.id", ondelete="CASCADE"))
