"""Sessions: the sending accounts of a client."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import now_ms
from service.models.base import Base, Id, Moment, Object

FOREVER = 253_402_300_799_999
"""The `held_until` of what somebody has to mend: the last moment of the year 9999."""


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

    `settings` are the channel's public ones, `secrets` the rest of them, encrypted with the key of
    the mark `sealed_by`; where that is null, an older version or nobody has encrypted them.
    `rate` in provider messages a second, None for no limit of ours; `concurrency` is how many may
    be under way at once in each process, None for the channel's own number; `paced_until` is the
    time in microseconds up to which that rate is spoken for (GCRA's theoretical arrival time).
    It is held until `held_until`, for `hold_reason`; what lies in the past holds nothing. While it
    is blocked, `rests_until` and `rest_reason` are the hold that follows once it is mended.
    `prices` has a `currency` and the price of a message in some `countries`, for previews alone.
    `window` has the days and hours at which it sends; claims read `opens_at` and `closes_at`, the
    span of it that is open or the next one, which the sweep moves on.
    `health` is what the provider said last of the account's quality and limits; `templates_at` is
    when its templates were fetched.
    `token_digest` is the SHA-256 of the session's own token, None while it has none.
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
        Index("uq_sessions_token_digest", "token_digest", unique=True),
    )

    client_id: Mapped[str] = mapped_column(Id, ForeignKey("clients.id", ondelete="CASCADE"))
    token_digest: Mapped[str | None]
    name: Mapped[str]
    channel: Mapped[str]
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    secrets: Mapped[str] = mapped_column(default="")
    sealed_by: Mapped[str | None]
    rate: Mapped[float | None]
    concurrency: Mapped[int | None]
    max_attempts: Mapped[int | None]
    prices: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    on_uncertain: Mapped[str] = mapped_column(default=OnUncertain.HOLD)
    is_default: Mapped[bool] = mapped_column(default=False)
    held_until: Mapped[int] = mapped_column(Moment, default=0, server_default=text("0"))
    hold_reason: Mapped[str | None]
    rests_until: Mapped[int] = mapped_column(Moment, default=0, server_default=text("0"))
    rest_reason: Mapped[str | None]
    paced_until: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), default=0
    )

    window: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    opens_at: Mapped[int] = mapped_column(Moment, default=0, server_default=text("0"))
    closes_at: Mapped[int] = mapped_column(
        Moment, default=FOREVER, server_default=text(str(FOREVER))
    )
    health: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    templates_at: Mapped[int | None] = mapped_column(Moment)

    @property
    def has_token(self) -> bool:
        """Whether it has a token of its own."""
        return self.token_digest is not None

    @property
    def status(self) -> SessionStatus:
        """Whether the account can send now."""
        if self.held_until <= now_ms():
            return SessionStatus.READY
        return SessionStatus.BLOCKED if self.held_until == FOREVER else SessionStatus.THROTTLED

    @property
    def reason(self) -> str | None:
        """Why it cannot send now, if it cannot."""
        return None if self.status == SessionStatus.READY else self.hold_reason

    @property
    def throttled_until(self) -> int | None:
        """When it goes on by itself, if it waits for that."""
        return self.held_until if self.status == SessionStatus.THROTTLED else None
