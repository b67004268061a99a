"""Uploaded media: attachments that a provider already holds."""

from __future__ import annotations

from sqlalchemy import (
    ForeignKey,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment


class UploadedMedia(Base):
    """An attachment that a session's provider already holds, under the provider's id."""

    __tablename__ = "uploaded_media"

    session_id: Mapped[str] = mapped_column(
        Id, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True
    )
    attachment_id: Mapped[str] = mapped_column(
        Id, ForeignKey("attachments.id", ondelete="CASCADE"), primary_key=True
    )
    provider_id: Mapped[str]
    expires_at: Mapped[int] = mapped_column(Moment)
