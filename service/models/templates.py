"""Templates: messages that a provider approved for a session's account."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class Template(Base):
    """A template, as the provider last described it.

    `status`, `category` and `quality` are the provider's terms. `parameters` are the placeholders
    of each component; null if only a webhook has reported the template. `reason` says why it cannot
    be used.
    """

    __tablename__ = "templates"

    session_id: Mapped[str] = mapped_column(
        Id, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    category: Mapped[str | None]
    status: Mapped[str]
    quality: Mapped[str | None]
    reason: Mapped[str | None]
    parameters: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    updated_at: Mapped[int] = mapped_column(Moment)
