"""Identities: the ids under which WhatsApp hides the numbers of people."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class Identity(Base):
    """A person's user id (`CC.…`, one for each business), or a former number, and the number now.

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
