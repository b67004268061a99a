"""The provider's later word: stored at once, applied when its delivery is settled.

A webhook stores receipts and answers. A dispatcher applies them, many in one transaction (what
they change is in `core.deliveries.progress`). A receipt that comes before the result of the
send is recorded waits for it; one that names nothing of ours is counted and dropped after a while.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as Db

from service.channels.base import Receipt, ReceiptState
from service.core.deliveries import tallies, transitions
from service.core.deliveries.progress import State, Word, advance
from service.core.deliveries.transitions import storable
from service.database import is_postgres
from service.models import (
    Broadcast,
    Delivery,
    DeliveryStatus,
    OptOut,
    SentPart,
    WaitingReceipt,
)

_WAIT = 1_000
"""Milliseconds until a receipt is looked at again whose delivery is not settled."""

_PATIENCE = 600_000
"""Milliseconds after which a receipt that names nothing of ours is given up: the ids of parts are
written with the last of them, and a rate may lie between two. It is looked at ever more seldom."""

_REFERENCE = re.compile(r"([0-9a-f]{24})\.([0-9]{1,4})")
"""A delivery and one of its parts, as `dispatch.sender` writes them."""

_SETTLED = {DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ}


class Applied(NamedTuple):
    """What became of a batch of receipts."""

    applied: int = 0
    unknown: int = 0
    waiting: int = 0


class PartSent(NamedTuple):
    """A part that a provider took, by the id it gave it."""

    session_id: str
    message_id: str
    delivery_id: str
    part: int


class _Found(NamedTuple):
    """A delivery that receipts speak of, locked, and what its broadcast says of it."""

    delivery: Delivery
    parts: int
    session_id: str | None


def store(db: Db, session_id: str, receipts: Sequence[Receipt], *, now: int) -> None:
    """Keep receipts of a session until a dispatcher applies them."""
    if receipts:
        db.execute(insert(WaitingReceipt), [_waiting(session_id, each, now) for each in receipts])


def remember(db: Db, parts: Sequence[PartSent]) -> None:
    """Keep the provider's ids of parts, for channels whose receipts name nothing else."""
    _insert_new(db, SentPart, [part._asdict() for part in parts])


def opt_out(db: Db, session_id: str, recipient: str, *, now: int) -> None:
    """Leave a recipient out of what this session sends from now on."""
    values = {"session_id": session_id, "recipient": recipient, "created_at": now}
    _insert_new(db, OptOut, [values])


def are_due(db: Db, *, now: int) -> bool:
    """Tell whether there is a receipt to apply."""
    due = select(WaitingReceipt.id).where(WaitingReceipt.due_at <= now)
    return db.execute(due.limit(1)).first() is not None


def apply(db: Db, limit: int, *, now: int) -> Applied:
    """Apply up to `limit` receipts that are due; return what became of them."""
    due = (
        select(WaitingReceipt)
        .where(WaitingReceipt.due_at <= now)
        .order_by(WaitingReceipt.due_at, WaitingReceipt.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    waiting = db.scalars(due).all()
    if not waiting:
        return Applied()
    _look_up(db, waiting)
    named = {receipt.delivery_id for receipt in waiting if receipt.delivery_id}
    found = _lock(db, named)
    told = _told(waiting, found)
    _bring_forward(db, [(found[each], told[each]) for each in sorted(told)], now)
    done = {receipt.id for receipts in told.values() for receipt in receipts}
    busy = _existing(db, named - found.keys())
    return _put_away(db, waiting, done, busy, now)


def _insert_new(db: Db, table: type, rows: list[dict[str, Any]]) -> None:
    """Insert the rows that are not there yet."""
    if rows:
        dialect = postgresql if is_postgres(db) else sqlite
        db.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def _waiting(session_id: str, receipt: Receipt, now: int) -> dict[str, object]:
    ours = _REFERENCE.fullmatch(receipt.reference)
    return {
        "session_id": session_id,
        "delivery_id": ours[1] if ours else None,
        "part": int(ours[2]) if ours else None,
        "message_id": one_word(receipt.provider_id),
        "state": receipt.state,
        "code": storable(receipt.code) or None,
        "reason": storable(receipt.reason) or None,
        "opted_out": receipt.opted_out,
        "received_at": now,
        "due_at": now,
    }


def one_word(message_id: str) -> str:
    """Return a provider's id as it is kept among others, with blanks between."""
    return "".join(storable(message_id).split())


def _look_up(db: Db, waiting: Sequence[WaitingReceipt]) -> None:
    """Find the parts that receipts name by the provider's id alone."""
    nameless = [receipt for receipt in waiting if receipt.delivery_id is None]
    if not nameless:
        return
    named = select(SentPart).where(SentPart.message_id.in_({each.message_id for each in nameless}))
    known = {(part.session_id, part.message_id): part for part in db.scalars(named)}
    for receipt in nameless:
        part = known.get((receipt.session_id, receipt.message_id))
        if part is not None:
            receipt.delivery_id, receipt.part = part.delivery_id, part.part


def _lock(db: Db, delivery_ids: Iterable[str]) -> dict[str, _Found]:
    """Lock the deliveries that are not being sent, but for those that somebody else has locked."""
    rows = db.execute(
        select(Delivery, Broadcast.parts, Broadcast.session_id)
        .join(Broadcast, Broadcast.id == Delivery.broadcast_id)
        .where(Delivery.id.in_(delivery_ids), Delivery.status != DeliveryStatus.SENDING)
        .order_by(Delivery.id)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    return {row[0].id: _Found(*row) for row in rows}


def _existing(db: Db, delivery_ids: Iterable[str]) -> set[str]:
    return set(db.scalars(select(Delivery.id).where(Delivery.id.in_(delivery_ids))))


def _told(
    waiting: Sequence[WaitingReceipt], found: dict[str, _Found]
) -> dict[str, list[WaitingReceipt]]:
    """Return the receipts of each delivery that its own session was told."""
    told: dict[str, list[WaitingReceipt]] = {}
    for receipt in waiting:
        known = found.get(receipt.delivery_id or "")
        if known and known.session_id == receipt.session_id and (receipt.part or 0) < known.parts:
            told.setdefault(known.delivery.id, []).append(receipt)
    return told


def _bring_forward(db: Db, news: Iterable[tuple[_Found, list[WaitingReceipt]]], now: int) -> None:
    moves: list[dict[str, object]] = []
    gains: dict[str, Counter[str]] = {}
    opted_out: set[tuple[str, str]] = set()
    for (delivery, parts, _), receipts in news:
        before = _state(delivery)
        after = advance(before, map(_word, receipts), parts)
        if after != before:
            moves.append(_move(delivery, before, after, now))
            gains.setdefault(delivery.broadcast_id, Counter()).update(_gain(before, after))
        opted_out |= {(each.session_id, delivery.recipient) for each in receipts if each.opted_out}
    transitions.bring_forward(db, moves)
    tallies.move(db, gains, now=now)
    for session_id, recipient in sorted(opted_out):
        opt_out(db, session_id, recipient, now=now)


def _state(delivery: Delivery) -> State:
    return State(
        DeliveryStatus(delivery.status),
        tuple((delivery.message_ids or "").split()),
        delivery.progress or "",
        delivery.code,
        delivery.reason,
    )


def _word(receipt: WaitingReceipt) -> Word:
    state = ReceiptState(receipt.state)
    return Word(receipt.part or 0, state, receipt.message_id, receipt.code, receipt.reason)


def _move(delivery: Delivery, before: State, after: State, now: int) -> dict[str, object]:
    """Return what changes; a delivery that already waited for its next attempt goes on waiting."""
    goes_on = after.status is DeliveryStatus.QUEUED and before.status is not DeliveryStatus.QUEUED
    return {
        "delivery_id": delivery.id,
        "was": before.status,
        "new_status": after.status,
        "new_message_ids": " ".join(after.message_ids) or None,
        "new_progress": after.progress,
        "new_code": after.code,
        "new_reason": after.reason,
        "new_due_at": now if goes_on else delivery.due_at,
        "new_sent_at": now if after.status in _SETTLED else None,
        "new_updated_at": now,
    }


def _gain(before: State, after: State) -> Counter[str]:
    gain: Counter[str] = Counter()
    if before.status in tallies.COUNTED:
        gain[before.status] -= 1
    if after.status in tallies.COUNTED:
        gain[after.status] += 1
    return gain


def _put_away(
    db: Db, waiting: Sequence[WaitingReceipt], done: set[str], busy: set[str], now: int
) -> Applied:
    """Drop the receipts that are done with; let the others wait, those of nothing for a while."""
    counts: Counter[str] = Counter()
    dropped: list[str] = []
    for receipt in waiting:
        if receipt.id in done:
            counts["applied"] += 1
            dropped.append(receipt.id)
            continue
        age = 0 if receipt.delivery_id in busy else now - receipt.received_at
        if age >= _PATIENCE:
            counts["unknown"] += 1
            dropped.append(receipt.id)
        else:
            counts["waiting"] += 1
            receipt.due_at = now + max(_WAIT, age // 4)
    db.flush()
    db.execute(delete(WaitingReceipt).where(WaitingReceipt.id.in_(dropped)))
    return Applied(**counts)
