"""Estimates: how fast a broadcast is sent, and when it will end.

Nothing is guessed: if the end is unknown, there is none, and a sentence says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Db

from service.core import daily_limits, hours, openings, paces, schedules
from service.core.deliveries.timelines import Bucket
from service.core.schedules import Crowd, DayCount, Places, Run
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

_IDLE: Final = "Nothing of it was sent in the last minute"

_MOST_CROWDS: Final = 200
"""Openings of the hours of recipients that are looked at."""

_NOBODY: Final = 1e-3
"""Fractions of a recipient that are left by calculating with them."""

_RECENT: Final = 60_000
"""Milliseconds over which the rate is taken, or a little more where buckets are wider."""


class Estimate(NamedTuple):
    """When a broadcast ends: `expiring` deliveries will not have been sent by `expires_at`.

    `reason` says why there is no `ends_at`. `days` are those on which it is sent, if its session
    has a daily limit.
    """

    ends_at: int | None = None
    expiring: int = 0
    reason: str | None = None
    days: Sequence[DayCount] = ()


def rate(buckets: Sequence[Bucket], *, now: int) -> float:
    """Return how many deliveries per second have ended recently."""
    recent = [bucket for bucket in buckets if bucket.end > now - _RECENT]
    if not recent:
        return 0.0
    return sum(bucket.settled for bucket in recent) * 1000 / max(1000, now - recent[0].start)


def make(
    db: Db,
    broadcast: Broadcast,
    observed: float,
    *,
    crowds: Sequence[Crowd] | None = None,
    now: int,
) -> Estimate:
    """Estimate the end of a broadcast that is sent at a rate; moments in ms of Unix time.

    `crowds` are its recipients, if it is not stored yet.
    """
    session = db.get(Session, broadcast.session_id) if broadcast.session_id else None
    if reason := _obstacle(broadcast, session):
        return Estimate(reason=reason)
    is_new = crowds is not None
    crowds = _crowds(db, broadcast, session, now) if crowds is None else crowds
    begins = beginning(broadcast, session, crowds, now)
    if begins is None:
        return Estimate(reason=openings.NEVER)
    pace = paces.of(session) if session else None
    paced = pace.rate / broadcast.parts if pace else None
    speed = min(filter(None, (paced, observed if begins == now else None)), default=None)
    places = _places(db, session, now)
    left = sum(crowd.count for crowd in crowds)
    if speed is None and (places is None or places.at(begins) >= left):
        waits = "It has not begun" if begins > now or is_new else _IDLE
        return Estimate(reason=f"{waits}, and its session has no `rate` to go by.")
    found = [*schedules.runs(crowds, speed, places, begins)]
    made = _ended(broadcast, found, left, _last_due(db, broadcast.id))
    return made._replace(days=_days(broadcast, session, found)) if places else made


def beginning(
    broadcast: Broadcast, session: Session | None, crowds: Sequence[Crowd], now: int
) -> int | None:
    """Return when a broadcast can start, `now` at the earliest; None if its windows never open."""
    held_until = session.held_until if session else 0
    start = max(now, broadcast.send_at or 0, held_until)
    spans = [crowd.span(start) for crowd in crowds]
    return min((span.opens_at for span in spans if span), default=None)


def _obstacle(broadcast: Broadcast, session: Session | None) -> str | None:
    """Return what keeps a broadcast from ending by itself, if anything does."""
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


def _crowds(db: Db, broadcast: Broadcast, session: Session | None, now: int) -> list[Crowd]:
    """Return the remaining recipients of a broadcast, grouped by when their hours begin."""
    windows = openings.windows(broadcast, session)
    pending = broadcast.total - sum(getattr(broadcast, name) for name in COUNTED)
    later = []
    asked = (broadcast.window, session.window if session else None)
    if any(map(hours.is_recipients, asked)):
        later = [Crowd(windows, count, due_at) for due_at, count in _put_off(db, broadcast.id, now)]
    return [Crowd(windows, pending - sum(crowd.count for crowd in later)), *later]


def _put_off(db: Db, broadcast_id: str, now: int) -> Sequence[tuple[int, int]]:
    """Return when postponed deliveries are due, and how many."""
    waiting = select(Delivery.due_at, func.count()).where(
        Delivery.broadcast_id == broadcast_id,
        Delivery.status == DeliveryStatus.QUEUED,
        Delivery.due_at > now,
    )
    rows = waiting.group_by(Delivery.due_at).order_by(Delivery.due_at).limit(_MOST_CROWDS)
    return [(due_at, count) for due_at, count in db.execute(rows)]


def _places(db: Db, session: Session | None, now: int) -> Places | None:
    limit = daily_limits.of(session) if session else None
    if limit is None:
        return None
    return Places.of(limit.most, daily_limits.counted_at(db, limit, now=now))


def _ended(broadcast: Broadcast, found: Sequence[Run], left: float, last_due: int) -> Estimate:
    """Return the end of a broadcast sent in these runs, with this many deliveries left."""
    expires_at = broadcast.expires_at
    ends_at = max(last_due, found[-1].ends_at if found else 0)
    rest = left - sum(run.number for run in found)
    if rest < _NOBODY and ends_at <= expires_at:
        return Estimate(ends_at)
    if rest >= _NOBODY and found and found[-1].ends_at < expires_at:
        return Estimate(reason=TOO_SHORT)
    sent = sum(_before(run, expires_at) for run in found)
    return Estimate(expires_at, max(0, math.ceil(left - sent - _NOBODY)))


def _before(run: Run, moment: int) -> float:
    """Return how many deliveries of a run are sent before a given time."""
    if run.ends_at <= moment:
        return run.number
    if run.begins_at >= moment:
        return 0.0
    return run.number * (moment - run.begins_at) / (run.ends_at - run.begins_at)


def _days(broadcast: Broadcast, session: Session | None, found: Sequence[Run]) -> list[DayCount]:
    """Return on which days a broadcast is sent, by the clock of its window; without one, by UTC."""
    windows = openings.windows(broadcast, session)
    zone = windows[0].zone if windows else ZoneInfo("UTC")
    return schedules.days((run for run in found if run.begins_at < broadcast.expires_at), zone)


def _last_due(db: Db, broadcast_id: str) -> int:
    """Return when the last delivery that waits for another attempt is due."""
    queued = select(func.max(Delivery.due_at)).where(
        Delivery.broadcast_id == broadcast_id, Delivery.status == DeliveryStatus.QUEUED
    )
    return db.scalar(queued) or 0
