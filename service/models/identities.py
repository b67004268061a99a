"""Identities: the user ids that WhatsApp uses in place of phone numbers."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class Identity(Base):
    """A person's user id (`CC.…`, one per business) or former number, with the current number.

    `number` is the WhatsApp id, in E.164 digits.
    """

    __tablename__ = "identities"
    __table_args__ = (Index(None, "client_id", "number"),)

    client_id: Mapped[str] = mapped_column(
        Id, ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[str]
    updated_at: Mapped[int] = mapped_column(Moment)
