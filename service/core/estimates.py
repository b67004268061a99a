"""Estimates: how fast a broadcast is sent, and when it will have ended.

Nothing is guessed: where no end can be told, there is none, and a sentence says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Db

from service.core import hours, openings
from service.core.deliveries.timelines import Bucket
from service.core.hours import Span
from service.models import (
    COUNTED,
    Broadcast,
    BroadcastStatus,
    Delivery,
    DeliveryStatus,
    Session,
    SessionStatus,
)

TOO_SHORT: Final = "Its window is too short to send it within a year."

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
    begins = beginning(broadcast, session, now)
    if begins is None:
        return Estimate(reason=openings.NEVER)
    speed = min(filter(None, (paced, observed if begins == now else None)), default=None)
    if speed is None:
        waits = "It has not begun" if begins > now else "Nothing was sent in the last minute"
        return Estimate(reason=f"{waits}, so there is no rate to go by.")
    spans = hours.spans(openings.windows(broadcast, session), begins)
    return _at_speed(broadcast, speed, spans, _last_due(db, broadcast.id))


def beginning(broadcast: Broadcast, session: Session | None, now: int) -> int | None:
    """Return when a broadcast can be sent, `now` at the earliest; None if its windows say never."""
    held_until = session.held_until if session else 0
    return openings.opening(broadcast, session, max(now, broadcast.send_at or 0, held_until))


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


def _at_speed(broadcast: Broadcast, speed: float, spans: Iterable[Span], last_due: int) -> Estimate:
    """Estimate the end of a broadcast that is sent at a speed, in messages a second, in `spans`."""
    pending = broadcast.total - sum(getattr(broadcast, name) for name in COUNTED)
    left, expires_at = round(pending * 1000 / speed), broadcast.expires_at
    for opens_at, closes_at in spans:
        if opens_at + left <= closes_at or closes_at >= expires_at:
            ends_at = max(opens_at + left, last_due)
            if ends_at <= expires_at:
                return Estimate(ends_at)
            left -= max(0, expires_at - opens_at)
            return Estimate(expires_at, max(0, math.ceil(left * speed / 1000)))
        left -= closes_at - opens_at
    return Estimate(reason=TOO_SHORT)


def _last_due(db: Db, broadcast_id: str) -> int:
    """Return when the last delivery that waits for another attempt is due."""
    queued = select(func.max(Delivery.due_at)).where(
        Delivery.broadcast_id == broadcast_id, Delivery.status == DeliveryStatus.QUEUED
    )
    return db.scalar(queued) or 0
