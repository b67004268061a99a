"""The counters of a broadcast, updated in the same transaction as its deliveries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.core import outbox
from service.core.deliveries import timelines
from service.core.deliveries.timelines import Moved
from service.database import is_postgres
from service.metrics import meters
from service.models import COUNTED, BroadcastStatus


class Closed(NamedTuple):
    """A broadcast without open deliveries."""

    id: str
    status: BroadcastStatus
    total: int


_DONE = " + ".join(f"{name} + :{name}" for name in COUNTED)
_MOVE = text(f"""
    UPDATE broadcasts SET
        {", ".join(f"{name} = {name} + :{name}" for name in COUNTED)},
        updated_at = :now, version = version + 1,
        closed_at = CASE WHEN total = {_DONE} THEN COALESCE(closed_at, :now) END,
        status = CASE WHEN total = {_DONE} AND status <> 'cancelled' THEN 'completed'
                      WHEN total <> {_DONE} AND status = 'completed'
                          THEN CASE WHEN send_at > :now THEN 'scheduled' ELSE 'sending' END
                      ELSE status END
    WHERE id = :id
    RETURNING id, client_id, version, status, total, closed_at, created_at, send_at,
        (SELECT channel FROM sessions WHERE sessions.id = broadcasts.session_id) AS channel
""")  # noqa: S608 - the names are ours


def move(
    db: Db, gains: Mapping[str, Counter[str]], *, touched: Iterable[str] = (), now: int
) -> list[Closed]:
    """Add to the counters of broadcasts, by id and status; return the ones that closed now.

    Callbacks are told of `touched`, the ids of the deliveries that moved, perhaps too many.

    A completed broadcast that has something open again, by a retry or a receipt, goes on sending,
    or waits for its time: nobody may be left of a scheduled one before that comes.

    In the order of ids, so that two processes never wait for each other.
    """
    closed, moved, rows = [], [], []
    for broadcast_id in sorted(gains):
        gain: dict[str, int] = {name: gains[broadcast_id][name] for name in COUNTED}
        row = db.execute(_MOVE, {"id": broadcast_id, "now": now, **gain}).one_or_none()
        if row is None:
            continue
        rows.append(row)
        moved.append(Moved(row.id, timelines.began(row.created_at, row.send_at), gain))
        for status, count in gain.items():
            if count > 0:
                meters.note(db.info, "deliveries", (row.channel or "none", status), count)
        if row.closed_at == now:
            closed.append(Closed(row.id, BroadcastStatus(row.status), row.total))
    timelines.keep(db, moved, now=now)
    outbox.moved(db, rows, touched, now=now)
    return closed


_RECOUNT = text("""
    SELECT status, count(*) AS count FROM deliveries WHERE broadcast_id = :id GROUP BY status
""")
_LOCK = text(
    "SELECT sent, delivered, read, failed, cancelled, uncertain FROM broadcasts WHERE id = :id"
)
_LOCK_POSTGRES = text(f"{_LOCK.text} FOR UPDATE")


def recount(db: Db, broadcast_id: str, *, now: int) -> list[Closed]:
    """Recount a broadcast's deliveries; return the broadcast if that closes it.

    The broadcast is locked first. A transaction that has changed rows but not yet the counters
    waits and adds its changes afterwards.
    """
    lock = _LOCK_POSTGRES if is_postgres(db) else _LOCK
    counters = db.execute(lock, {"id": broadcast_id}).mappings().one()
    rows = {row.status: row.count for row in db.execute(_RECOUNT, {"id": broadcast_id})}
    missing: Counter[str] = Counter()
    for name in COUNTED:
        missing[name] = rows.get(name, 0) - counters[name]
    return move(db, {broadcast_id: missing}, now=now)


def gains(moved: Iterable[Any]) -> dict[str, Counter[str]]:
    """Count moved deliveries by broadcast and counted status."""
    return add_up((row.broadcast_id, row.status, 1) for row in moved)


def add_up(moved: Iterable[Any]) -> dict[str, Counter[str]]:
    """Sum numbers of deliveries by broadcast and counted status."""
    sums: dict[str, Counter[str]] = {}
    for broadcast_id, status, count in moved:
        if status in COUNTED and count:
            sums.setdefault(broadcast_id, Counter())[status] += count
    return sums
