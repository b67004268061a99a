"""Holds: stop a session or a broadcast that cannot send, so that deliveries do not fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Row, exists, select, text, update
from sqlalchemy.orm import Session as Db

from service.core import moments, outbox, ways
from service.models import FOREVER, Broadcast, BroadcastStatus, EventType, Session


def hold_session(db: Db, session_id: str, reason: str, *, until: int | None, now: int) -> None:
    """Hold a session's deliveries until a time, or for None until somebody fixes the session.

    The longest of several holds counts: an answer that arrives late must not shorten a hold. A
    dated hold applies again after the session is fixed.
    """
    with telling(db, session_id, now=now):
        _hold(db, session_id, reason, until, now)


def replace_hold(db: Db, session_id: str, reason: str, *, until: int | None, now: int) -> None:
    """Hold a session for this reason instead of any earlier one."""
    with telling(db, session_id, now=now):
        _release(db, session_id, now)
        _hold(db, session_id, reason, until, now)


def _hold(db: Db, session_id: str, reason: str, until: int | None, now: int) -> None:
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
    with telling(db, session_id, now=now):
        _release(db, session_id, now)


def _release(db: Db, session_id: str, now: int) -> None:
    blocked = update(Session).where(Session.id == session_id, Session.held_until == FOREVER)
    before = {"held_until": Session.rests_until, "hold_reason": Session.rest_reason}
    db.execute(blocked.values(**before, updated_at=now))


def hold_broadcast(
    db: Db, broadcast_id: str, reason: str, *, waits_for: str | None = None, now: int
) -> None:
    """Pause a broadcast whose message the provider refuses, before all recipients fail.

    If the provider refuses the message of one way, the whole broadcast pauses. `waits_for` is the
    template whose return resumes it, if any.
    """
    way = db.execute(_WAY, {"id": broadcast_id}).one_or_none()
    if way is None:
        _hold_whole(db, broadcast_id, reason, waits_for, now)
        return
    said = f"Step {way.step} of the fallback: {reason}" if way.step else reason
    _hold_whole(db, way.parent_id, said, waits_for and WAY, now)
    db.execute(_WAIT, {"id": broadcast_id, "waits_for": waits_for})


def _hold_whole(db: Db, broadcast_id: str, reason: str, waits_for: str | None, now: int) -> None:
    held = update(Broadcast).where(
        Broadcast.id == broadcast_id, Broadcast.status == BroadcastStatus.SENDING
    )
    values = {"status": BroadcastStatus.PAUSED, "reason": reason, "updated_at": now}
    values["waits_for"] = waits_for
    changed = held.values(**values, version=Broadcast.version + 1).returning(Broadcast.client_id)
    if client_id := db.scalar(changed.execution_options(synchronize_session=False)):
        broadcast = db.get_one(Broadcast, broadcast_id, populate_existing=True)
        ways.align(db, broadcast)
        if outbox.wanted(db, client_id, EventType.BROADCAST_HELD):
            outbox.tell_broadcast(db, broadcast, EventType.BROADCAST_HELD, now=now)


WAY = "way"
"""The `waits_for` of a broadcast that waits for what one of its ways waits for."""

_WAIT = text("UPDATE broadcasts SET waits_for = :waits_for WHERE id = :id")
_WAY = text("SELECT parent_id, step FROM broadcasts WHERE id = :id AND parent_id IS NOT NULL")


def blocked(db: Db) -> Sequence[Session]:
    """List the sessions that somebody has to fix while broadcasts wait for them."""
    waiting = exists().where(Broadcast.session_id == Session.id, Broadcast.closed_at.is_(None))
    return db.scalars(select(Session).where(Session.held_until == FOREVER, waiting)).all()


@contextmanager
def telling(db: Db, session_id: str, *, now: int) -> Iterator[None]:
    """Post events to callbacks if the session's ability to send changes within the block."""
    before = db.execute(_STATE, {"id": session_id}).one_or_none()
    kinds = (EventType.SESSION_HELD, EventType.SESSION_READY)
    is_wanted = before and any(outbox.wanted(db, before.client_id, kind) for kind in kinds)
    yield
    if before and is_wanted:
        after = db.execute(_STATE, {"id": session_id}).one()
        if _standing(before, now) != _standing(after, now):
            _tell(db, after, now)


_STATE = text("SELECT id, client_id, name, held_until, hold_reason FROM sessions WHERE id = :id")


def _standing(session: Row[Any], now: int) -> tuple[bool, bool]:
    """Return whether a session is held, and whether the hold has no end."""
    return session.held_until > now, session.held_until == FOREVER


def _tell(db: Db, session: Row[Any], now: int) -> None:
    is_held, is_blocked = _standing(session, now)
    kind = EventType.SESSION_HELD if is_held else EventType.SESSION_READY
    data = {
        "session_id": session.id,
        "name": session.name,
        "reason": session.hold_reason if is_held else None,
        "heldUntil": moments.show(session.held_until) if is_held and not is_blocked else None,
    }
    outbox.emit(db, session.client_id, kind, session.id, data, sequence=now, now=now)
