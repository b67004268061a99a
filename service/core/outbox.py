"""The outbox: events for callbacks, stored in the transaction that causes them.

The wanted events of clients are cached for two seconds, so that a client without callbacks costs
one dictionary look-up.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, insert, select, text
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import moments
from service.database import CACHE, pieces
from service.models import (
    COUNTED,
    Broadcast,
    BroadcastStatus,
    Callback,
    CallbackEvent,
    Delivery,
    EventStatus,
    EventType,
)

TRIED_FOR: Final = 86_400_000
"""How long an event is tried, in milliseconds."""

MOST_DELIVERIES: Final = 500
"""Deliveries in one event."""

_FRESH: Final = 2.0
"""Seconds for which it is remembered who wants what."""

_KEY: Final = "callbacks"

Wanted = Mapping[tuple[str, str], Sequence[str]]
"""The ids of callbacks by client and type of event."""


# The update locks the queue's row: an event and the end of the one before it never pass each other.
_QUEUE = text("""
    INSERT INTO callback_queues (callback_id, subject, due_at, attempts)
    VALUES (:callback_id, :subject, :due_at, 0)
    ON CONFLICT (callback_id, subject) DO UPDATE SET due_at = callback_queues.due_at
""")


def wanted(db: Db, client_id: str, kind: EventType) -> Sequence[str]:
    """Return the callbacks of a client that want events of a type."""
    return _all_wanted(db).get((client_id, kind), ())


def look_again(db: Db) -> None:
    """Clear the cache of wanted events, because a callback has changed."""
    db.info.get(CACHE, {}).pop(_KEY, None)


def emit(  # noqa: PLR0913 - whom, what, about what, and when
    db: Db,
    client_id: str,
    kind: EventType,
    subject: str,
    data: Mapping[str, Any],
    *,
    sequence: int,
    now: int,
) -> None:
    """Store an event for each callback of a client that wants it; moments in ms of Unix time.

    `subject` is the id of the broadcast or session that it is about. Events of one subject are
    posted in the order of `sequence`.
    """
    if not (callbacks := wanted(db, client_id, kind)):
        return
    body = json.dumps({"type": kind, "timestamp": moments.show(now), "data": data})
    common = {"subject": subject, "sequence": sequence, "type": kind, "body": body}
    common |= {"status": EventStatus.WAITING, "attempts": 0, "created_at": now}
    rows = [
        {"id": ids.new(), "callback_id": each, **common, "expires_at": now + TRIED_FOR}
        for each in callbacks
    ]
    queue(db, [(each, subject) for each in callbacks], now=now)
    db.execute(insert(CallbackEvent), rows)


def queue(db: Db, places: Iterable[tuple[str, str]], *, now: int) -> None:
    """Queue the events of these callbacks and subjects for posting."""
    rows = [{"callback_id": each, "subject": subject, "due_at": now} for each, subject in places]
    db.execute(_QUEUE, rows)


def moved(db: Db, broadcasts: Iterable[Row[Any]], touched: Iterable[str], *, now: int) -> None:
    """Store events for deliveries that moved, and for broadcasts that this closed.

    The broadcasts are rows (`id`, `client_id`, `version`, `status`, `closed_at`) that this
    transaction has updated, `touched` the ids of deliveries, perhaps too many.
    """
    told = [each for each in broadcasts if _wants_any(db, each.client_id)]
    if not told:
        return
    by_head: dict[str, list[str]] = {}
    for delivery_id in touched:
        by_head.setdefault(delivery_id[:18], []).append(delivery_id)
    for row in told:
        _tell_deliveries(db, row, by_head.get(row.id[:18], []), now)
        if row.closed_at == now and row.status == BroadcastStatus.COMPLETED:
            tell_broadcast(db, db.get_one(Broadcast, row.id, populate_existing=True), now=now)


def tell_broadcast(
    db: Db, broadcast: Broadcast, kind: EventType = EventType.BROADCAST_COMPLETED, *, now: int
) -> None:
    """Store the event that a broadcast ended, or was paused, held or resumed."""
    counts = {str(name): getattr(broadcast, name) for name in COUNTED}
    data = {
        "broadcast_id": broadcast.id,
        "session_id": broadcast.session_id,
        "status": broadcast.status,
        "reason": broadcast.reason,
        "counts": {"total": broadcast.total, **counts},
    }
    sequence = broadcast.version
    emit(db, broadcast.client_id, kind, broadcast.id, data, sequence=sequence, now=now)


def _tell_deliveries(db: Db, row: Row[Any], delivery_ids: Sequence[str], now: int) -> None:
    if not wanted(db, row.client_id, EventType.DELIVERY_UPDATED):
        return
    columns = (Delivery.id, Delivery.recipient, Delivery.status, Delivery.code, Delivery.reason)
    for some in pieces(delivery_ids, MOST_DELIVERIES):
        found = select(*columns, Delivery.updated_at).where(
            Delivery.id.in_(some), Delivery.status.in_(COUNTED)
        )
        rows = db.execute(found.order_by(Delivery.id)).all()
        if rows:
            data = {"broadcast_id": row.id, "deliveries": [_delivery(each) for each in rows]}
            kind = EventType.DELIVERY_UPDATED
            emit(db, row.client_id, kind, row.id, data, sequence=row.version, now=now)


def _delivery(row: Any) -> dict[str, Any]:
    return {
        "_id": row.id,
        "recipient": row.recipient,
        "status": row.status,
        "code": row.code,
        "reason": row.reason,
        "updatedAt": moments.show(row.updated_at),
    }


def _wants_any(db: Db, client_id: str) -> bool:
    every = _all_wanted(db)
    kinds = (EventType.DELIVERY_UPDATED, EventType.BROADCAST_COMPLETED)
    return any((client_id, kind) in every for kind in kinds)


def _all_wanted(db: Db) -> Wanted:
    """Return the events that each client wants, at most two seconds old."""
    cache: dict[str, Any] = db.info.setdefault(CACHE, {})
    read_at, found = cache.get(_KEY, (0.0, {}))
    if not read_at or time.monotonic() > read_at + _FRESH:
        found = _read(db)
        cache[_KEY] = (time.monotonic(), found)
    wants: Wanted = found
    return wants


def _read(db: Db) -> Wanted:
    found: dict[tuple[str, str], list[str]] = {}
    active = select(Callback.id, Callback.client_id, Callback.events)
    for row in db.execute(active.where(Callback.paused_at.is_(None)).order_by(Callback.id)):
        for kind in row.events:
            found.setdefault((row.client_id, kind), []).append(row.id)
    return found
