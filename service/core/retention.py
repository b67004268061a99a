"""The verbs of forgetting: what is closed and old goes, a little at a time, and nothing else.

A broadcast is hidden first, so that its client can ask for no retry of what is half gone. Each verb
checks in its own transaction that it is still closed: a late receipt may open one again. Rows are
locked in the order in which receipts lock them, and what a receipt holds is left for the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Delete,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session as Db

from service.models import (
    Broadcast,
    Delivery,
    DeliveryEvent,
    DeliveryStatus,
    SentPart,
    WaitingReceipt,
)

# What needs the provider's id of a part is a later receipt, which may name nothing else. Only what
# is read in all its parts, or was cancelled, no receipt moves any more: what was sent may be
# delivered, and what failed may turn out to have arrived, when a phone is switched on after weeks;
# so the ids of those stay until their broadcast is forgotten.
_ENDED = (DeliveryStatus.READ, DeliveryStatus.CANCELLED)

_ECHOES = 7 * 86_400_000
"""Milliseconds for which the ids of ended deliveries stay all the same: providers repeat a receipt
for days, and one that is not found any more would be reported as one of nothing of ours."""


class PartKey(NamedTuple):
    """The place of a provider's id among all of them; the default is before the first."""

    session_id: str = ""
    message_id: str = ""


class Extent(NamedTuple):
    """How much there is to forget."""

    broadcasts: int
    deliveries: int
    receipts: int


def extent(db: Db, *, before: int) -> Extent:
    """Count what was closed before a moment, in milliseconds of Unix time."""
    found = select(func.count(), func.coalesce(func.sum(Broadcast.total), 0)).where(_old(before))
    broadcasts, deliveries = db.execute(found).one()
    waiting = select(func.count()).where(WaitingReceipt.received_at < before)
    return Extent(broadcasts, int(deliveries), db.scalar(waiting) or 0)


def hide(db: Db, *, before: int, after: str, limit: int, now: int) -> list[str]:
    """Hide the next broadcasts that were closed before a moment, in the order of ids `after` one.

    Return their ids, at most `limit` of them; an empty list is the end.
    """
    made_before = Broadcast.id < _first_id(before)
    next_ones = select(Broadcast.id).where(_old(before), Broadcast.id > after, made_before)
    ids = db.scalars(_locked(next_ones.limit(limit))).all()
    visible = update(Broadcast).where(Broadcast.id.in_(ids), Broadcast.deleted_at.is_(None))
    hidden = visible.values(deleted_at=now, updated_at=now, version=Broadcast.version + 1)
    db.execute(hidden.execution_options(synchronize_session=False))
    return list(ids)


def forget(db: Db, ids: Sequence[str], *, before: int, limit: int) -> tuple[int, int]:
    """Delete up to `limit` deliveries of hidden broadcasts, then those that have none left.

    Return how many deliveries and how many broadcasts went; no delivery and no broadcast: nothing
    of them can go now.
    """
    mine = (_old(before), Broadcast.deleted_at.is_not(None), Broadcast.id.in_(ids))
    closed = db.scalars(_locked(select(Broadcast.id).where(*mine))).all()
    some = select(Delivery.id).where(Delivery.broadcast_id.in_(closed)).limit(limit)
    free = db.scalars(some.with_for_update(skip_locked=True)).all()
    _count(db, delete(DeliveryEvent).where(DeliveryEvent.delivery_id.in_(free)))
    deliveries = _count(db, delete(Delivery).where(Delivery.id.in_(free)))
    if deliveries == limit:
        return deliveries, 0
    left = exists().where(Delivery.broadcast_id == Broadcast.id)
    empty = delete(Broadcast).where(Broadcast.id.in_(closed), ~left)
    return deliveries, _count(db, empty)


def forget_parts(db: Db, *, after: PartKey, limit: int, now: int) -> PartKey | None:
    """Delete those of the next `limit` provider's ids, in the order of keys, that nobody needs.

    Return the key to go on `after`; None is the end. Where no delivery is left, none is needed.
    """
    columns = (SentPart.session_id, SentPart.message_id)
    key, since = tuple_(*columns), now - _ECHOES
    beyond = key > tuple_(*after)
    looked_at = db.execute(select(*columns).where(beyond).order_by(*columns).limit(limit)).all()
    if not looked_at:
        return None
    last = PartKey._make(looked_at[-1])
    moves = or_(Delivery.status.not_in(_ENDED), Delivery.updated_at >= since)
    is_needed = exists().where(Delivery.id == SentPart.delivery_id, moves)
    _count(db, delete(SentPart).where(beyond, key <= tuple_(*last), ~is_needed))
    return last


def forget_receipts(db: Db, *, before: int, limit: int) -> int:
    """Delete up to `limit` receipts that came before a moment and that nobody has applied."""
    old = WaitingReceipt.received_at < before
    return _count(db, _some(WaitingReceipt, (WaitingReceipt.id,), old, limit))


def _first_id(moment: int) -> str:
    """Return where the ids begin of what was made after a moment: they begin with their time."""
    return f"{moment // 1000:08x}"


def _old(before: int) -> ColumnElement[bool]:
    return Broadcast.closed_at < before


def _locked(broadcasts: Any) -> Any:
    return broadcasts.order_by(Broadcast.id).with_for_update()


def _some(table: type, key: tuple[Any, ...], condition: ColumnElement[bool], limit: int) -> Delete:
    return delete(table).where(tuple_(*key).in_(select(*key).where(condition).limit(limit)))


def _count(db: Db, statement: Delete) -> int:
    done = db.execute(statement.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", done).rowcount
