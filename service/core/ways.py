"""The ways of a broadcast: read, and kept in step with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session as Db

from service import ids
from service.models import Broadcast, Delivery


def of(db: Db, broadcast: Broadcast) -> Sequence[Broadcast]:
    """Return the ways of a broadcast, in order; none if it has no fallback."""
    if broadcast.first_way_id is None:
        return ()
    mine = select(Broadcast).where(Broadcast.parent_id == broadcast.id)
    return db.scalars(mine.order_by(Broadcast.step)).all()


class Taken(NamedTuple):
    """What a way did with a delivery: with step 0 the session of the broadcast."""

    step: int
    session_id: str | None
    delivery: Delivery


def taken(db: Db, broadcast: Broadcast, delivery: Delivery) -> list[Taken]:
    """Return the ways that a delivery has taken, in order."""
    found = rows(db, broadcast, [delivery.id], Delivery)[delivery.id]
    ways = [Taken(way.step or 0, way.session_id, row) for way, row in found]
    return ways or [Taken(0, broadcast.session_id, delivery)]


def rows(
    db: Db, broadcast: Broadcast, delivery_ids: Sequence[str], what: Any
) -> dict[str, list[tuple[Broadcast, Any]]]:
    """Return the rows of some deliveries in the ways of a broadcast, in order, by delivery."""
    ways = of(db, broadcast)
    moved = {ids.moved(each, way.id): (each, way) for way in ways for each in delivery_ids}
    wanted = select(Delivery.id, what).where(Delivery.id.in_(moved))
    known: dict[str, Any] = {row[0]: row[1] for row in db.execute(wanted)} if moved else {}
    found: dict[str, list[tuple[Broadcast, Any]]] = {each: [] for each in delivery_ids}
    for delivery_id, (each, way) in moved.items():
        if delivery_id in known:
            found[each].append((way, known[delivery_id]))
    return found


_ALIGN = text("""
    UPDATE broadcasts SET
        status = CASE WHEN broadcasts.status = 'completed' THEN 'completed'
                      WHEN p.status = 'completed' THEN 'sending' ELSE p.status END,
        waits_for = CASE WHEN p.waits_for IS NOT NULL THEN broadcasts.waits_for END,
        reason = p.reason, expires_at = p.expires_at, deleted_at = p.deleted_at,
        updated_at = p.updated_at, version = broadcasts.version + 1
    FROM broadcasts AS p WHERE broadcasts.parent_id = p.id AND p.id = :id
""")


def align(db: Db, broadcast: Broadcast) -> None:
    """Let the ways of a broadcast go, wait and end with it; what is closed stays so."""
    if broadcast.first_way_id is not None:
        db.execute(_ALIGN, {"id": broadcast.id})
