"""Estimates: how fast a broadcast is sent, and when it will have ended.

Nothing is guessed: where no end can be told, there is none, and a sentence says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Db

from service.core.deliveries.timelines import Bucket
from service.models import (
    COUNTED,
    Broadcast,
    BroadcastStatus,
    Delivery,
    DeliveryStatus,
    Session,
    SessionStatus,
)

_RECENT: Final = 60_000
"""Milliseconds over which the rate is taken, or a little more where buckets are wider."""


class Estimate(NamedTuple):
    """When a broadcast ends: `expiring` deliveries will not have been sent by `expires_at`.

    `reason` says why there is no `ends_at`.
    """

    ends_at: int | None = None
    expiring: int = 0
    reason: str | None = None


def rate(buckets: Sequence[Bucket], *, now: int) -> float:
    """Return how many deliveries a second have ended of late."""
    recent = [bucket for bucket in buckets if bucket.end > now - _RECENT]
    if not recent:
        return 0.0
    return sum(bucket.settled for bucket in recent) * 1000 / max(1000, now - recent[0].start)


def make(db: Db, broadcast: Broadcast, observed: float, *, now: int) -> Estimate:
    """Estimate the end of a broadcast that is sent at a rate; moments in ms of Unix time."""
    session = db.get(Session, broadcast.session_id) if broadcast.session_id else None
    if reason := _obstacle(broadcast, session):
        return Estimate(reason=reason)
    paced = session.rate / broadcast.parts if session and session.rate else None
    held_until = session.held_until if session else 0
    begins = max(now, broadcast.send_at or 0, held_until)
    speed = min(filter(None, (paced, observed if begins == now else None)), default=None)
    if speed is None:
        waits = "It has not begun" if begins > now else "Nothing was sent in the last minute"
        return Estimate(reason=f"{waits}, so there is no rate to go by.")
    return _at_speed(broadcast, speed, begins, _last_due(db, broadcast.id))


def _obstacle(broadcast: Broadcast, session: Session | None) -> str | None:
    """Say what keeps a broadcast from ending by itself, if anything does."""
    if broadcast.closed_at is not None:
        return "It has ended."
    if broadcast.status == BroadcastStatus.PAUSED:
        return broadcast.reason or "It is paused."
    if broadcast.status == BroadcastStatus.CANCELLED:
        return "It is cancelled: only what is under way still ends."
    if session is None:
        return "Its session was deleted."
    if session.status == SessionStatus.BLOCKED:
        return f"Its session cannot send: {session.reason}"
    return None


def _at_speed(broadcast: Broadcast, speed: float, begins: int, last_due: int) -> Estimate:
    pending = broadcast.total - sum(getattr(broadcast, name) for name in COUNTED)
    ends_at = max(begins + round(pending * 1000 / speed), last_due)
    if ends_at <= broadcast.expires_at:
        return Estimate(ends_at)
    in_time = int(max(0, broadcast.expires_at - begins) * speed / 1000)
    return Estimate(broadcast.expires_at, max(0, pending - in_time))


def _last_due(db: Db, broadcast_id: str) -> int:
    """Return when the last delivery that waits for another attempt is due."""
    queued = select(func.max(Delivery.due_at)).where(
        Delivery.broadcast_id == broadcast_id, Delivery.status == DeliveryStatus.QUEUED
    )
    return db.scalar(queued) or 0
