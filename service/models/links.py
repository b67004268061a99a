"""Links: which process keeps the connection of a session."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id


class SessionLink(Base):
    """The dispatcher that keeps a session's link. The row goes with the session or dispatcher."""

    __tablename__ = "session_links"
    __table_args__ = (Index(None, "dispatcher_id"),)

    session_id: Mapped[str] = mapped_column(
        Id, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    )
    dispatcher_id: Mapped[str] = mapped_column(Id, ForeignKey("dispatchers.id", ondelete="CASCADE"))
