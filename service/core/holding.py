"""Holding back what cannot be sent now, so that no list is burnt on a broken account."""

from __future__ import annotations

from sqlalchemy import or_, update
from sqlalchemy.orm import Session as Db

from service.models import Broadcast, BroadcastStatus, Session, SessionStatus

_READY = {"status": SessionStatus.READY, "reason": None, "held_until": None}


def hold_session(db: Db, session_id: str, reason: str, *, until: int | None, now: int) -> None:
    """Let a session's deliveries wait: until a moment, or for None until somebody mends it.

    Of several holds the longest counts: the word of a request that was under way meanwhile must
    not shorten what another one was told.
    """
    held = update(Session).where(Session.id == session_id)
    status = SessionStatus.BLOCKED
    if until is not None:
        status = SessionStatus.THROTTLED
        is_longer = or_(Session.held_until.is_(None), Session.held_until < until)
        held = held.where(Session.status != SessionStatus.BLOCKED, is_longer)
    values = {"status": status, "reason": reason, "held_until": until, "updated_at": now}
    db.execute(held.values(**values))


def release_session(db: Db, session_id: str, *, now: int) -> None:
    """Let a session send again that was blocked; a throttled one waits for its own end."""
    held = update(Session).where(Session.id == session_id, Session.status == SessionStatus.BLOCKED)
    db.execute(held.values(**_READY, updated_at=now))


def release_due(db: Db, *, now: int) -> None:
    """Let the sessions send again whose wait is over."""
    over = update(Session).where(Session.held_until <= now, Session.status != SessionStatus.READY)
    db.execute(over.values(**_READY, updated_at=now))


def hold_broadcast(db: Db, broadcast_id: str, reason: str, *, now: int) -> None:
    """Pause a broadcast whose message the provider refuses, before every recipient is refused."""
    held = update(Broadcast).where(
        Broadcast.id == broadcast_id, Broadcast.status == BroadcastStatus.SENDING
    )
    values = {"status": BroadcastStatus.PAUSED, "reason": reason, "updated_at": now}
    db.execute(held.values(**values, version=Broadcast.version + 1))
