"""Holds: stop a session or a broadcast that cannot send, so that deliveries do not fail."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session as Db

from service.models import FOREVER, Broadcast, BroadcastStatus, Session


def hold_session(db: Db, session_id: str, reason: str, *, until: int | None, now: int) -> None:
    """Hold a session's deliveries until a time, or for None until somebody fixes the session.

    The longest of several holds counts: an answer that arrives late must not shorten a hold. A
    dated hold applies again after the session is fixed.
    """
    if until is None:
        _block(db, session_id, reason, now=now)
    else:
        _throttle(db, session_id, reason, until=min(until, FOREVER - 1), now=now)


def _block(db: Db, session_id: str, reason: str, *, now: int) -> None:
    blocked = update(Session).where(Session.id == session_id, Session.held_until < FOREVER)
    before = {"rests_until": Session.held_until, "rest_reason": Session.hold_reason}
    db.execute(blocked.values(held_until=FOREVER, hold_reason=reason, **before, updated_at=now))


def _throttle(db: Db, session_id: str, reason: str, *, until: int, now: int) -> None:
    of_session = update(Session).where(Session.id == session_id)
    held = of_session.where(Session.held_until < until)
    db.execute(held.values(held_until=until, hold_reason=reason, updated_at=now))
    rests = of_session.where(Session.held_until == FOREVER, Session.rests_until < until)
    db.execute(rests.values(rests_until=until, rest_reason=reason))


def release_session(db: Db, session_id: str, *, now: int) -> None:
    """Unblock a session. A dated hold stays."""
    blocked = update(Session).where(Session.id == session_id, Session.held_until == FOREVER)
    before = {"held_until": Session.rests_until, "hold_reason": Session.rest_reason}
    db.execute(blocked.values(**before, updated_at=now))


def hold_broadcast(db: Db, broadcast_id: str, reason: str, *, now: int) -> None:
    """Pause a broadcast whose message the provider refuses, before all recipients fail."""
    held = update(Broadcast).where(
        Broadcast.id == broadcast_id, Broadcast.status == BroadcastStatus.SENDING
    )
    values = {"status": BroadcastStatus.PAUSED, "reason": reason, "updated_at": now}
    db.execute(held.values(**values, version=Broadcast.version + 1))
