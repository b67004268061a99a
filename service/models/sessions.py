"""Sessions: the sending accounts of a client."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import now_ms
from service.models.base import Base, Id, Moment, Object

FOREVER = 253_402_300_799_999
"""The `held_until` of a session that somebody has to repair: the last millisecond of 9999."""


class SessionStatus(StrEnum):
    """Whether a session can send."""

    READY = "ready"
    THROTTLED = "throttled"
    BLOCKED = "blocked"


class OnUncertain(StrEnum):
    """The treatment of a delivery that the provider may have accepted."""

    HOLD = "hold"
    RESEND = "resend"


class Session(Object, Base):
    """A sending account: a channel, its credentials and its rate.

    `settings` are the channel's public settings. `secrets` are the others, encrypted with the key
    that `sealed_by` identifies; null: an older version encrypted them, or they are not encrypted.
    `rate` is in provider messages per second; None: no limit. `concurrency` limits messages under
    way in each process; None: the channel's default. `paced_until` is the time in microseconds up
    to which the rate is used (GCRA's theoretical arrival time).
    The session is held until `held_until`, because of `hold_reason`; a past time does not hold it.
    While it is blocked, `rests_until` and `rest_reason` are the hold that follows the block.
    `jitter` has the seconds to wait between two messages, chosen at random: `from` and `to`.
    `daily_limit` is to how many people the session may send in any 24 hours, together with the
    other sessions of its `limit_group`; None: no limit, or a group of its own.
    `prices` has a `currency` and the price of a message in some `countries`, only for previews.
    `window` has the days and hours at which it sends. Claims read `opens_at` and `closes_at`, its
    open interval or the next one, which the sweep updates.
    `health` is the provider's last report on the account's quality and limits. `templates_at` is
    when its templates were fetched.
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
    sealed_by: Mapped[str | None]
    rate: Mapped[float | None]
    concurrency: Mapped[int | None]
    jitter: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))
    daily_limit: Mapped[int | None]
    limit_group: Mapped[str | None]
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
        """When it resumes by itself, if it is throttled."""
        return self.held_until if self.status == SessionStatus.THROTTLED else None
