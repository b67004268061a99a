"""Retention: deletes old, closed broadcasts in small steps.

A broadcast is hidden first, so that its client cannot retry a half-deleted one. Each step checks in
its own transaction that the broadcast is still closed: a late receipt may reopen it. Rows are
locked in the same order as by receipts; rows that a receipt holds are left for the next run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Delete,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import inbound_files, usages
from service.database import changed, pieces
from service.models import (
    AuditEntry,
    Broadcast,
    Delivery,
    DeliveryEvent,
    DeliveryStatus,
    Reply,
    SentPart,
    Token,
    WaitingReceipt,
)

# A later receipt may identify a part only by the provider's id. No receipt changes deliveries that
# were read completely or cancelled. Sent ones may still be delivered, and failed ones may turn out
# to have arrived when a phone is switched on after weeks. Their ids stay until their broadcast is
# purged.
_ENDED = (DeliveryStatus.READ, DeliveryStatus.CANCELLED)

_ECHOES = 7 * 86_400_000
"""Milliseconds for which ids of final deliveries are kept: providers repeat receipts for days, and
without the id they would count as unknown."""


_UNSEEN = {"synchronize_session": False}


class PartKey(NamedTuple):
    """The position of a provider's id in key order; the default is before the first."""

    session_id: str = ""
    message_id: str = ""


class PurgeCount(NamedTuple):
    """The amounts to purge."""

    broadcasts: int
    deliveries: int
    receipts: int
    replies: int
    entries: int


def extent(db: Db, *, before: int, audited_before: int = 0) -> PurgeCount:
    """Count what was closed before a time, in Unix milliseconds, and entries of the audit log."""
    found = select(func.count(), func.coalesce(func.sum(Broadcast.total), 0)).where(_old(before))
    broadcasts, deliveries = db.execute(found).one()
    waiting = select(func.sum(WaitingReceipt.size)).where(WaitingReceipt.received_at < before)
    replies = select(func.count()).where(Reply.created_at < before)
    entries = select(func.count()).where(_old_entries(audited_before))
    counted = [db.scalar(each) or 0 for each in (waiting, replies, entries)]
    return PurgeCount(broadcasts, int(deliveries), *counted)


def hide(db: Db, *, before: int, after: str, limit: int, now: int) -> list[str]:
    """Hide the next broadcasts that were closed before a time, in id order after `after`.

    Return at most `limit` ids; an empty list means the end.
    """
    made_before = Broadcast.id < ids.first(before)
    next_ones = select(Broadcast.id).where(_old(before), Broadcast.id > after, made_before)
    found = db.scalars(_locked(next_ones.limit(limit))).all()
    visible = update(Broadcast).where(_of(found), Broadcast.deleted_at.is_(None))
    hidden = visible.values(deleted_at=now, updated_at=now, version=Broadcast.version + 1)
    db.execute(hidden.execution_options(synchronize_session=False))
    return list(found)


def forget(db: Db, broadcast_ids: Sequence[str], *, before: int, limit: int) -> tuple[int, int]:
    """Delete up to `limit` deliveries of hidden broadcasts, then the empty broadcasts.

    Return the numbers of deleted deliveries and broadcasts; both are 0 if nothing can go now.
    """
    mine = (Broadcast.closed_at < before, Broadcast.deleted_at.is_not(None), _of(broadcast_ids))
    closed = db.scalars(_locked(select(Broadcast.id).where(*mine))).all()
    some = select(Delivery.id).where(Delivery.broadcast_id.in_(closed)).limit(limit)
    free = db.scalars(some.with_for_update(skip_locked=True)).all()
    changed(db, delete(DeliveryEvent).where(DeliveryEvent.delivery_id.in_(free)))
    deliveries = changed(db, delete(Delivery).where(Delivery.id.in_(free)))
    if deliveries == limit:
        return deliveries, 0
    left = exists().where(Delivery.broadcast_id == Broadcast.id)
    empty = delete(Broadcast).where(Broadcast.id.in_(closed), ~left)
    gone = db.execute(empty.returning(Broadcast.client_id, Broadcast.bytes), _UNSEEN).all()
    for client_id, size in gone:
        usages.note(db, client_id, bytes=-size)
    return deliveries, len(gone)


def forget_parts(db: Db, *, after: PartKey, limit: int, now: int) -> PartKey | None:
    """Delete the unneeded ones of the next `limit` provider ids, in key order.

    Return the key to continue after, None at the end. Ids without a delivery are unneeded.
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
    changed(db, delete(SentPart).where(beyond, key <= tuple_(*last), ~is_needed))
    return last


def forget_receipts(db: Db, *, before: int, limit: int) -> int:
    """Delete up to `limit` rows of unapplied receipts from before a time; count the receipts."""
    old = WaitingReceipt.received_at < before
    gone = _some(WaitingReceipt, (WaitingReceipt.id,), old, limit)
    return sum(db.scalars(gone.returning(WaitingReceipt.size), execution_options=_UNSEEN))


def forget_audit(db: Db, *, before: int, limit: int) -> int:
    """Delete up to `limit` entries of the audit log from before a time."""
    return changed(db, _some(AuditEntry, (AuditEntry.id,), _old_entries(before), limit))


def forget_tokens(db: Db, *, before: int, limit: int) -> int:
    """Delete up to `limit` tokens that were revoked or expired before a time."""
    ended = or_(Token.revoked_at < before, Token.expires_at < before)
    return changed(db, _some(Token, (Token.id,), ended, limit))


def forget_replies(db: Db, *, before: int, limit: int) -> int:
    """Delete up to `limit` replies that arrived before a given time, with their files."""
    old = db.scalars(select(Reply.id).where(Reply.created_at < before).limit(limit)).all()
    for some in pieces(old):
        inbound_files.forget(db, some)
        db.flush()
        changed(db, delete(Reply).where(Reply.id.in_(some)))
    return len(old)


def _old(before: int) -> ColumnElement[bool]:
    return and_(Broadcast.closed_at < before, Broadcast.parent_id.is_(None))


def _of(broadcast_ids: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition for broadcasts and their ways."""
    return or_(Broadcast.id.in_(broadcast_ids), Broadcast.parent_id.in_(broadcast_ids))


def _old_entries(before: int) -> ColumnElement[bool]:
    return AuditEntry.id < ids.first(before)


def _locked(broadcasts: Any) -> Any:
    return broadcasts.order_by(Broadcast.id).with_for_update()


def _some(table: type, key: tuple[Any, ...], condition: ColumnElement[bool], limit: int) -> Delete:
    return delete(table).where(tuple_(*key).in_(select(*key).where(condition).limit(limit)))
