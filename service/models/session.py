"""Sessions: the sending accounts of a client."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Id, Moment, Object


class SessionStatus(StrEnum):
    """Whether a session can send."""

    READY = "ready"
    THROTTLED = "throttled"
    BLOCKED = "blocked"


class OnUncertain(StrEnum):
    """What becomes of a delivery that the provider may or may not have taken."""

    HOLD = "hold"
    RESEND = "resend"


class Session(Object, Base):
    """A sending account: a channel, its credentials and its rate.

    `settings` are the channel's public ones, `secrets` the rest of them, encrypted.
    `rate` in provider messages a second, None for no limit of ours; `paced_until` is the time in
    microseconds up to which that rate is spoken for (GCRA's theoretical arrival time).
    `held_until` None with status `blocked`: until somebody mends the account.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("client_id", "name"),
        Index(
            "uq_sessions_default",
            "client_id",
            unique=True,
            sqlite_where=text("is_default"),
            postgresql_where=text("is_default"),
        ),
    )

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    name: Mapped[str]
    channel: Mapped[str]
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    secrets: Mapped[str] = mapped_column(default="")
    rate: Mapped[float | None]
    max_attempts: Mapped[int | None]
    on_uncertain: Mapped[str] = mapped_column(default=OnUncertain.HOLD)
    is_default: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(default=SessionStatus.READY)
    reason: Mapped[str | None]
    held_until: Mapped[int | None] = mapped_column(Moment)
    paced_until: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), default=0
    )


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
