"""Due ways: which deliveries of a broadcast with a fallback must be checked, and when.

Code that changes deliveries notes them here, in the same transaction. `courses` checks them
afterwards, in its own transactions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, bindparam, delete, insert, select, text, update
from sqlalchemy.orm import Session as Db

from service import ids
from service.database import pieces
from service.models import (
    Broadcast,
    BroadcastStatus,
    Delivery,
    DeliveryStatus,
    DueWay,
    StepCondition,
)

_ARRIVED: Final = (DeliveryStatus.DELIVERED, DeliveryStatus.READ)
_OPEN_ENDED: Final = (DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN)
_MINUTE: Final = 60_000


class Step(NamedTuple):
    """When the next way takes over: `minutes` apply if `after` is `undelivered`."""

    after: str
    minutes: int = 0

    def due_at(self, since: int) -> int | None:
        """Return when the next way takes over a delivery sent at this time, None for never."""
        return since + self.minutes * _MINUTE if self.after == StepCondition.UNDELIVERED else None


def read_steps(stored: Any) -> list[Step]:
    """Return the steps of a broadcast from its row."""
    listed = json.loads(stored) if isinstance(stored, str) else stored
    return [Step(each["after"], each.get("minutes") or 0) for each in listed or ()]


def note(db: Db, broadcast: Row[Any], touched: Iterable[str], *, now: int) -> int:
    """Note which of a broadcast's deliveries moved; return how many are passed on.

    `broadcast` is a row of `tallies.move`: a broadcast with ways, or a way.
    """
    head = ids.head(broadcast.id)
    mine = [each for each in touched if each.startswith(head)]
    if broadcast.parent_id:
        of_client = (ids.moved(each, broadcast.parent_id) for each in mine)
        put(db, broadcast.parent_id, ((each, now) for each in of_client))
        return 0
    if not broadcast.first_way_id:
        return 0
    is_over = broadcast.status == BroadcastStatus.CANCELLED or broadcast.expires_at <= now
    steps = read_steps(broadcast.fallback)
    if is_over or not steps:
        put(db, broadcast.id, ((each, now) for each in _noted(db, mine)))
        return 0
    passed = [each for some in pieces(mine) for each in db.scalars(_PASS_ON, {"ids": [*some]})]
    put(db, broadcast.id, ((each, now) for each in passed))
    put(db, broadcast.id, _waiting(db, broadcast, steps[0], mine, now))
    return len(passed)


_PASS_ON = text("""
    UPDATE deliveries SET status = 'fallback' WHERE id IN :ids AND status = 'failed' RETURNING id
""").bindparams(bindparam("ids", expanding=True))


def _waiting(
    db: Db, broadcast: Row[Any], step: Step, mine: Sequence[str], now: int
) -> Iterator[tuple[str, int]]:
    """Yield deliveries that may have arrived, each with the time of its check."""
    known = _noted(db, mine)
    for some in pieces(mine):
        wanted = select(Delivery.id, Delivery.status, Delivery.updated_at)
        states = Delivery.status.in_((*_ARRIVED, *_OPEN_ENDED))
        for row in db.execute(wanted.where(Delivery.id.in_(some), states)):
            if row.status in _ARRIVED:
                if row.id in known:
                    yield row.id, now
            elif (due_at := step.due_at(row.updated_at)) is not None:
                yield row.id, min(due_at, broadcast.expires_at)


def _noted(db: Db, delivery_ids: Sequence[str]) -> set[str]:
    """Return which of some deliveries must be checked."""
    return {
        each
        for some in pieces(delivery_ids)
        for each in db.scalars(select(DueWay.delivery_id).where(DueWay.delivery_id.in_(some)))
    }


def put(db: Db, broadcast_id: str, moments: Iterable[tuple[str, int]]) -> None:
    """Schedule checks of a broadcast's deliveries, each at its own time."""
    rows = [
        {"id": ids.new(), "broadcast_id": broadcast_id, "delivery_id": each, "due_at": due_at}
        for each, due_at in moments
    ]
    for some in pieces(rows):
        db.execute(insert(DueWay), some)


class Due(NamedTuple):
    """A delivery to check now, by one of its rows in this table."""

    id: str
    broadcast_id: str
    delivery_id: str


def is_any(db: Db, *, now: int) -> bool:
    """Return whether any delivery is due for a check now."""
    return db.scalar(select(DueWay.id).where(DueWay.due_at <= now).limit(1)) is not None


def take(db: Db, limit: int, *, now: int) -> list[Due]:
    """Lock the deliveries to check now, oldest first; skip those that others have locked."""
    due = select(DueWay.id, DueWay.broadcast_id, DueWay.delivery_id).where(DueWay.due_at <= now)
    rows = due.order_by(DueWay.due_at, DueWay.id).limit(limit).with_for_update(skip_locked=True)
    return [Due(*row) for row in db.execute(rows)]


def drop(db: Db, delivery_ids: Sequence[str]) -> None:
    """Delete the scheduled checks of deliveries, except those that another process has locked."""
    for some in pieces(delivery_ids):
        rows = select(DueWay.id).where(DueWay.delivery_id.in_(some))
        free = db.scalars(rows.with_for_update(skip_locked=True)).all()
        for part in pieces(free):
            _run(db, delete(DueWay).where(DueWay.id.in_(part)))


def hasten(db: Db, broadcast: Broadcast, *, after: int, now: int) -> None:
    """Move checks that are due after a given time to now. Call it before the broadcast changes.

    `looks.look` locks in that order, too.
    """
    if broadcast.first_way_id is not None:
        mine = update(DueWay).where(DueWay.broadcast_id == broadcast.id, DueWay.due_at > after)
        _run(db, mine.values(due_at=now))


def _run(db: Db, statement: Any) -> None:
    db.execute(statement.execution_options(synchronize_session=False))
