"""The counters of a broadcast, updated in the same transaction as its deliveries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.orm import Session as Db

from service.core import outbox
from service.core.deliveries import due_ways, timelines
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
_SIZE = "total + :added"
_SHOWN = """id, client_id, version, status, total, closed_at, created_at, send_at, expires_at,
    parent_id, first_way_id, fallback,
    (SELECT channel FROM sessions WHERE sessions.id = broadcasts.session_id) AS channel"""
_MOVE = text(f"""
    UPDATE broadcasts SET
        {", ".join(f"{name} = {name} + :{name}" for name in COUNTED)}, total = {_SIZE},
        updated_at = :now, version = version + 1,
        closed_at = CASE WHEN {_SIZE} = {_DONE} AND first_way_id IS NULL
                             THEN COALESCE(closed_at, :now)
                         WHEN {_SIZE} = {_DONE} THEN closed_at END,
        status = CASE WHEN {_SIZE} = {_DONE} AND first_way_id IS NULL AND status <> 'cancelled'
                          THEN 'completed'
                      WHEN {_SIZE} <> {_DONE} AND status = 'completed'
                          THEN CASE WHEN send_at > :now THEN 'scheduled' ELSE COALESCE(
                              (SELECT CASE p.status WHEN 'completed' THEN 'sending' ELSE p.status
                               END FROM broadcasts AS p WHERE p.id = broadcasts.parent_id),
                              'sending') END
                      ELSE status END
    WHERE id = :id
    RETURNING {_SHOWN}
""")  # noqa: S608 - the names are ours

# The counters are locked by now. So this statement sees what others have committed before, and of
# two that do the last work of a broadcast, one closes it.
_CLOSE = text(f"""
    UPDATE broadcasts SET closed_at = :now,
        status = CASE status WHEN 'cancelled' THEN status ELSE 'completed' END
    WHERE id = :id AND closed_at IS NULL AND total = {" + ".join(COUNTED)}
        AND NOT EXISTS (SELECT 1 FROM due_ways WHERE broadcast_id = :id)
    RETURNING {_SHOWN}
""")  # noqa: S608 - the names are ours


class _Change(NamedTuple):
    """The row of a broadcast whose counters have moved, and by how much."""

    row: Row[Any]
    gain: dict[str, int]


def move(  # noqa: PLR0913 - what moved, what is new, who follows, and when
    db: Db,
    gains: Mapping[str, Counter[str]],
    *,
    touched: Iterable[str] = (),
    added: Mapping[str, int] = MappingProxyType({}),
    follows: bool = True,
    now: int,
) -> list[Closed]:
    """Add to the counters of broadcasts, by id and status; return the ones that closed now.

    Callbacks get events for `touched`, the ids of the deliveries that moved (perhaps more). `added`
    counts new deliveries by broadcast. `follows`: other ways take over failed deliveries. If a
    retry or a receipt reopens a delivery of a completed broadcast, the broadcast sends again, or
    waits for its time if it is scheduled. Broadcasts are updated in the order of ids, so that two
    processes never wait for each other.
    """
    changes = []
    for broadcast_id in sorted(gains):
        gain: dict[str, int] = {name: gains[broadcast_id][name] for name in COUNTED}
        if change := _change(db, broadcast_id, gain, now, added.get(broadcast_id, 0)):
            changes.append(change)
    if any(row.first_way_id or row.parent_id for row, _ in changes):
        touched = [*touched]
        changes = [_led(db, each, touched if follows else (), now) for each in changes]
    if follows:
        _measure(db, changes)
    shown = [each for each in changes if each.row.parent_id is None]
    timelines.keep(db, [_moved(each) for each in shown], now=now)
    outbox.moved(db, [row for row, _ in shown], touched, now=now)
    return [
        Closed(row.id, BroadcastStatus(row.status), row.total)
        for row, _ in shown
        if row.closed_at == now
    ]


def _change(
    db: Db, broadcast_id: str, gain: dict[str, int], now: int, added: int = 0
) -> _Change | None:
    values = {"id": broadcast_id, "now": now, "added": added, **gain}
    row = db.execute(_MOVE, values).one_or_none()
    return None if row is None else _Change(row, gain)


def _led(db: Db, change: _Change, touched: Sequence[str], now: int) -> _Change:
    """Let other ways take over failed deliveries; close a broadcast without open ways."""
    row, gain = change
    passed = due_ways.note(db, row, touched, now=now)
    if passed and (less := _change(db, row.id, _failed(-passed), now)):
        row, gain = less.row, gain | {"failed": gain["failed"] - passed}
    if row.first_way_id:
        row = db.execute(_CLOSE, {"id": row.id, "now": now}).one_or_none() or row
    return _Change(row, gain)


def _failed(count: int) -> dict[str, int]:
    return dict.fromkeys(map(str, COUNTED), 0) | {"failed": count}


def _measure(db: Db, changes: Iterable[_Change]) -> None:
    for row, gain in changes:
        for status, count in gain.items():
            if count > 0:
                meters.note(db.info, "deliveries", (row.channel or "none", status), count)


def _moved(change: _Change) -> Moved:
    row = change.row
    return Moved(row.id, timelines.began(row.created_at, row.send_at), change.gain)


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
