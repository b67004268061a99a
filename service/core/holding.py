"""Holding back what cannot be sent now, so that no list is burnt on a broken account."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session as Db

from service.models import FOREVER, Broadcast, BroadcastStatus, Session


def hold_session(db: Db, session_id: str, reason: str, *, until: int | None, now: int) -> None:
    """Let a session's deliveries wait: until a moment, or for None until somebody mends it.

    Of several holds the longest counts: the word of a request that was under way meanwhile must
    not shorten what another one was told.
    """
    end = FOREVER if until is None else min(until, FOREVER - 1)
    held = update(Session).where(Session.id == session_id, Session.held_until < end)
    db.execute(held.values(held_until=end, hold_reason=reason, updated_at=now))


def release_session(db: Db, session_id: str, *, now: int) -> None:
    """Let a session send again that was blocked; a throttled one waits for its own end."""
    blocked = update(Session).where(Session.id == session_id, Session.held_until == FOREVER)
    db.execute(blocked.values(held_until=now, hold_reason=None, updated_at=now))


def hold_broadcast(db: Db, broadcast_id: str, reason: str, *, now: int) -> None:
    """Pause a broadcast whose message the provider refuses, before every recipient is refused."""
    held = update(Broadcast).where(
        Broadcast.id == broadcast_id, Broadcast.status == BroadcastStatus.SENDING
    )
    values = {"status": BroadcastStatus.PAUSED, "reason": reason, "updated_at": now}
    db.execute(held.values(**values, version=Broadcast.version + 1))
