"""Looks: checks due deliveries and moves them along their ways, in one transaction.

A look does not wait for a delivery that another transaction has locked: it is checked later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Row, Table, insert, or_, select, text
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.registry import Channels
from service.core.deliveries import due_ways, events, opted_out, tallies
from service.core.deliveries.courses import Course, Ways
from service.core.deliveries.due_ways import Due
from service.core.deliveries.obstacles import NamedRecipient, Obstacles
from service.core.deliveries.verdicts import Verdict
from service.database import pieces
from service.models import COUNTED, Broadcast, Delivery, DeliveryStatus, Session

_TABLE = cast("Table", Delivery.__table__)

_FEW: Final = 100
"""Deliveries whose rows in all their ways are found by one statement."""


class Looked(NamedTuple):
    """The result of a look: the ids of ways with new deliveries, and whether more may be due."""

    entered: Sequence[str]
    is_full: bool


def look(db: Db, limit: int, channels: Channels, *, now: int) -> Looked:
    """Check up to `limit` due deliveries."""
    opted_out.queueing(db)
    due = due_ways.take(db, limit, now=now)
    families = _families(db, {each.broadcast_id for each in due})
    free, courses = _courses(db, due, families, channels, now)
    verdicts = [course.run() for course in courses]
    due_ways.drop(db, free)
    for course, verdict in zip(courses, verdicts, strict=True):
        _look_again(db, course, verdict)
    return Looked(_write(db, courses, now), len(due) == limit)


_IS_LEFT = text("""
    SELECT EXISTS (
        SELECT 1 FROM broadcasts AS l JOIN deliveries AS d
            ON d.id = substr(l.id, 1, 18) || substr(:delivery_id, 19)
        WHERE l.parent_id = :parent_id AND l.step > :step)
""")


def is_left(db: Db, way: Broadcast, delivery_id: str) -> bool:
    """Return whether a delivery of a way has moved on to a later way."""
    values = {"delivery_id": delivery_id, "parent_id": way.parent_id, "step": way.step}
    return bool(db.scalar(_IS_LEFT, values))


def _families(db: Db, broadcast_ids: Iterable[str]) -> dict[str, Ways]:
    """Return broadcasts with their ways."""
    wanted = select(
        *(Broadcast.id, Broadcast.client_id, Broadcast.status, Broadcast.deleted_at),
        *(Broadcast.expires_at, Broadcast.fallback, Broadcast.parent_id, Broadcast.step),
        *(Broadcast.session_id, Session.channel),
    ).outerjoin(Session, Session.id == Broadcast.session_id)
    rows: list[Row[Any]] = []
    for some in pieces([*broadcast_ids]):
        mine = or_(Broadcast.id.in_(some), Broadcast.parent_id.in_(some))
        rows += db.execute(wanted.where(mine).order_by(Broadcast.step)).all()
    return {
        row.id: Ways(row, [way for way in rows if way.parent_id == row.id])
        for row in rows
        if row.parent_id is None
    }


def _courses(
    db: Db, due: Sequence[Due], families: dict[str, Ways], channels: Channels, now: int
) -> tuple[list[str], list[Course]]:
    """Lock due deliveries and their rows in all ways; skip those that others have locked.

    Return the locked ones, and the courses of those that still exist: their broadcast may have been
    purged.
    """
    wanted = {
        each.delivery_id: families[each.broadcast_id]
        for each in due
        if each.broadcast_id in families
    }
    gone = [each.delivery_id for each in due if each.broadcast_id not in families]
    found: dict[str, dict[str, Any]] = {}
    for some in pieces(sorted(wanted), _FEW):
        found |= _locked(db, [row for each in some for row in _rows(each, wanted[each])])
    held = {row_id for row_id, row in found.items() if not row}
    free = [each for each in wanted if not held.intersection(_rows(each, wanted[each]))]
    people = {
        NamedRecipient(
            wanted[each].broadcast.client_id, wanted[each].broadcast.id, row["recipient"]
        )
        for each in free
        if (row := found.get(each))
    }
    obstacles = Obstacles(db, channels, people)
    return [*free, *gone], [
        Course(
            wanted[each],
            found[each],
            [found[row] for row in _rows(each, wanted[each])[1:] if row in found],
            obstacles,
            now,
        )
        for each in free
        if each in found
    ]


def _rows(delivery_id: str, family: Ways) -> list[str]:
    """Return the ids that a delivery and its rows in all ways have, or would have."""
    return [delivery_id, *(ids.moved(delivery_id, way.id) for way in family.ways)]


def _locked(db: Db, row_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Lock rows in the order of ids; return them by id, an empty one for each that is held."""
    there = db.scalars(select(_TABLE.c.id).where(_TABLE.c.id.in_(row_ids))).all()
    rows = select(_TABLE).where(_TABLE.c.id.in_(there)).order_by(_TABLE.c.id)
    free = db.execute(rows.with_for_update(skip_locked=True)).mappings()
    unlocked: dict[str, dict[str, Any]] = {each: {} for each in there}
    return unlocked | {row["id"]: dict(row) for row in free}


def _look_again(db: Db, course: Course, verdict: Verdict) -> None:
    """Schedule another check of a delivery, at the latest when its broadcast expires."""
    if verdict.look_at is not None:
        broadcast = course.family.broadcast
        due_at = min(verdict.look_at, broadcast.expires_at)
        due_ways.put(db, broadcast.id, [(course.delivery["id"], due_at)])


_CHANGE = text("""
    UPDATE deliveries SET status = :status, code = :code, reason = :reason, attempts = :attempts,
        message_ids = :message_ids, pricing = :pricing, sent_at = :sent_at,
        delivered_at = :delivered_at, read_at = :read_at, updated_at = :updated_at
    WHERE id = :id AND status = :was
""")
_CHANGED: Final = (
    *("id", "status", "code", "reason", "attempts", "message_ids", "pricing"),
    *("sent_at", "delivered_at", "read_at", "updated_at"),
)


def _write(db: Db, courses: Sequence[Course], now: int) -> list[str]:
    """Store the results of courses; return the ids of ways with new deliveries to send."""
    gains = {course.family.broadcast.id: Counter[str]() for course in courses}
    added: Counter[str] = Counter()
    new, changed = [], []
    for course in courses:
        for row in course.changed():
            was, broadcast_id = course.was(row), row["broadcast_id"]
            if was is None:
                new.append(row)
                added[broadcast_id] += 1
            else:
                changed.append({**{name: row[name] for name in _CHANGED}, "was": was})
            _count(gains.setdefault(broadcast_id, Counter()), was, row["status"])
    touched = [course.delivery["id"] for course in courses if course.has_moved()]
    for some in pieces(new):
        db.execute(insert(_TABLE), some)
    if changed:
        db.execute(_CHANGE, changed)
    events.keep(db, [event for course in courses for event in course.events])
    tallies.move(db, gains, touched=touched, added=added, follows=False, now=now)
    queued = (row["broadcast_id"] for row in new if row["status"] == DeliveryStatus.QUEUED)
    return [*dict.fromkeys(queued)]


def _count(gain: Counter[str], was: str | None, status: str) -> None:
    if was in COUNTED:
        gain[str(was)] -= 1
    if status in COUNTED:
        gain[str(status)] += 1
