"""The provider's later word: stored at once, applied when its delivery is settled.

A webhook stores receipts and answers. A dispatcher applies them, many in one transaction: states
only move forward, a repeat changes nothing, and each part of a delivery has a state of its own. A
receipt that comes before the result of the send is recorded waits for it; one that names nothing
of ours is counted and dropped after a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.base import Receipt, ReceiptState
from service.core import deliveries, tallies
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

_PATIENCE = 60_000
"""Milliseconds after which a receipt that names nothing of ours is given up."""

NAMELESS = "-"
"""Stands for the id of a part whose provider gave it none."""

UNKNOWN = "."
_LETTERS = {
    ReceiptState.SENT: "s",
    ReceiptState.DELIVERED: "d",
    ReceiptState.READ: "r",
    ReceiptState.FAILED: "f",
}
_RANKS = {UNKNOWN: 0, "s": 1, "f": 2, "d": 3, "r": 4}
"""A part that was delivered has not failed, whichever word comes last."""

_OPEN = {DeliveryStatus.QUEUED, DeliveryStatus.UNCERTAIN}
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


class State(NamedTuple):
    """What is known of a delivery before and after receipts: what they may change."""

    status: DeliveryStatus
    message_ids: tuple[str, ...]
    progress: str
    code: str | None = None
    reason: str | None = None


def store(db: Db, session_id: str, receipts: Sequence[Receipt], *, now: int) -> None:
    """Keep receipts of a session until a dispatcher applies them."""
    if receipts:
        db.execute(insert(WaitingReceipt), [_waiting(session_id, each, now) for each in receipts])


def remember(db: Db, parts: Sequence[PartSent]) -> None:
    """Keep the provider's ids of parts, for channels whose receipts name nothing else."""
    if not parts:
        return
    dialect = postgresql if deliveries.is_postgres(db) else sqlite
    rows = [part._asdict() for part in parts]
    db.execute(dialect.insert(SentPart).on_conflict_do_nothing(), rows)


def opt_out(db: Db, session_id: str, recipient: str, *, now: int) -> None:
    """Leave a recipient out of what this session sends from now on."""
    dialect = postgresql if deliveries.is_postgres(db) else sqlite
    values = {"session_id": session_id, "recipient": recipient, "created_at": now}
    db.execute(dialect.insert(OptOut).values(**values).on_conflict_do_nothing())


def are_due(db: Db, *, now: int) -> bool:
    """Tell whether there is a receipt to apply."""
    due = select(WaitingReceipt.id).where(WaitingReceipt.due_at <= now)
    return db.execute(due.limit(1)).first() is not None


def apply(db: Db, limit: int, *, now: int) -> Applied:
    """Apply up to `limit` receipts that are due; return what became of them."""
    due = (
        select(WaitingReceipt)
        .where(WaitingReceipt.due_at <= now)
        .order_by(WaitingReceipt.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    waiting = db.scalars(due).all()
    if not waiting:
        return Applied()
    _find(db, waiting)
    by_delivery: dict[str, list[WaitingReceipt]] = {}
    for receipt in waiting:
        by_delivery.setdefault(receipt.delivery_id or "", []).append(receipt)
    settled = _apply_to(db, by_delivery, now)
    return _put_away(db, waiting, settled, now)


def advance(state: State, receipts: Sequence[WaitingReceipt], parts: int) -> State:
    """Return what is known of a delivery of so many parts after more receipts for it.

    Each receipt's `part` must be one of the delivery's.
    """
    for receipt in receipts:
        state = _advance(state, receipt, parts)
    return state


def _advance(state: State, receipt: WaitingReceipt, parts: int) -> State:
    if state.status not in _OPEN | _SETTLED:
        return state
    part, letter = receipt.part or 0, _LETTERS[ReceiptState(receipt.state)]
    progress = state.progress.ljust(parts, UNKNOWN)
    if _RANKS[letter] <= _RANKS[progress[part]]:
        return state
    state = state._replace(progress=progress[:part] + letter + progress[part + 1 :])
    if letter == "f":
        # A retry, should the client ask for one, begins at this part.
        kept = state.message_ids[:part]
        failed = state._replace(status=DeliveryStatus.FAILED, message_ids=kept)
        return failed._replace(code=receipt.code, reason=receipt.reason)
    if part == len(state.message_ids) and state.status in _OPEN:
        return _taken(state, receipt.message_id, parts)
    return state._replace(status=_status(state, parts))


def _taken(state: State, message_id: str, parts: int) -> State:
    """Settle the part that was to be sent next: the provider has it after all."""
    state = state._replace(
        status=DeliveryStatus.QUEUED,
        message_ids=(*state.message_ids, message_id or NAMELESS),
        code=None,
        reason=None,
    )
    return state._replace(status=_status(state, parts))


def _status(state: State, parts: int) -> DeliveryStatus:
    """Return how a delivery stands, none of whose parts has failed."""
    if len(state.message_ids) < parts:
        return state.status
    rank = min(_RANKS[letter] for letter in state.progress)
    if rank >= _RANKS["r"]:
        return DeliveryStatus.READ
    if rank >= _RANKS["d"]:
        return DeliveryStatus.DELIVERED
    return DeliveryStatus.SENT


def _waiting(session_id: str, receipt: Receipt, now: int) -> dict[str, object]:
    delivery_id, _, part = receipt.reference.partition(".")
    is_ours = ids.is_id(delivery_id) and part.isdecimal()
    return {
        "session_id": session_id,
        "delivery_id": delivery_id if is_ours else None,
        "part": int(part) if is_ours else None,
        "message_id": receipt.provider_id,
        "state": receipt.state,
        "code": receipt.code or None,
        "reason": receipt.reason or None,
        "opted_out": receipt.opted_out,
        "received_at": now,
        "due_at": now,
    }


def _find(db: Db, waiting: Sequence[WaitingReceipt]) -> None:
    """Look up the parts that receipts name by the provider's id alone."""
    nameless = [receipt for receipt in waiting if receipt.delivery_id is None]
    if not nameless:
        return
    named = select(SentPart).where(SentPart.message_id.in_({each.message_id for each in nameless}))
    known = {(part.session_id, part.message_id): part for part in db.scalars(named)}
    for receipt in nameless:
        part = known.get((receipt.session_id, receipt.message_id))
        if part is not None:
            receipt.delivery_id, receipt.part = part.delivery_id, part.part


def _apply_to(db: Db, by_delivery: dict[str, list[WaitingReceipt]], now: int) -> set[str]:
    """Bring deliveries forward; return the ids of those that their receipts are done with."""
    rows = db.execute(
        select(Delivery, Broadcast.parts, Broadcast.session_id)
        .join(Broadcast, Broadcast.id == Delivery.broadcast_id)
        .where(Delivery.id.in_(by_delivery))
        .order_by(Delivery.id)
        .with_for_update(of=Delivery)
    ).all()
    settled: set[str] = set()
    moves: list[dict[str, object]] = []
    gains: dict[str, Counter[str]] = {}
    for delivery, parts, session_id in rows:
        if delivery.status == DeliveryStatus.SENDING:
            continue
        settled.add(delivery.id)
        valid = [
            each
            for each in by_delivery[delivery.id]
            if each.session_id == session_id and (each.part or 0) < parts
        ]
        _note_opt_outs(db, delivery, valid, now)
        before = _state(delivery)
        after = advance(before, valid, parts)
        if after != before:
            moves.append(_move(delivery.id, before, after, now))
            gains.setdefault(delivery.broadcast_id, Counter()).update(_gain(before, after))
    deliveries.bring_forward(db, moves)
    tallies.move(db, gains, now=now)
    return settled


def _note_opt_outs(
    db: Db, delivery: Delivery, receipts: Sequence[WaitingReceipt], now: int
) -> None:
    for receipt in receipts:
        if receipt.opted_out:
            opt_out(db, receipt.session_id, delivery.recipient, now=now)


def _state(delivery: Delivery) -> State:
    return State(
        DeliveryStatus(delivery.status),
        tuple((delivery.message_ids or "").split()),
        delivery.progress or "",
        delivery.code,
        delivery.reason,
    )


def _move(delivery_id: str, before: State, after: State, now: int) -> dict[str, object]:
    return {
        "delivery_id": delivery_id,
        "was": before.status,
        "new_status": after.status,
        "new_message_ids": " ".join(after.message_ids) or None,
        "new_progress": after.progress,
        "new_code": after.code,
        "new_reason": after.reason,
        "new_due_at": now,
        "new_updated_at": now,
    }


def _gain(before: State, after: State) -> Counter[str]:
    gain: Counter[str] = Counter()
    if before.status in deliveries.COUNTED:
        gain[before.status] -= 1
    if after.status in deliveries.COUNTED:
        gain[after.status] += 1
    return gain


def _put_away(db: Db, waiting: Sequence[WaitingReceipt], settled: set[str], now: int) -> Applied:
    """Drop the receipts that are done with; let the others wait, those of nothing for a while."""
    counts: Counter[str] = Counter()
    done: list[str] = []
    for receipt in waiting:
        if receipt.delivery_id in settled:
            counts["applied"] += 1
            done.append(receipt.id)
        elif now - receipt.received_at >= _PATIENCE:
            counts["unknown"] += 1
            done.append(receipt.id)
        else:
            counts["waiting"] += 1
            receipt.due_at = now + _WAIT
    db.flush()
    db.execute(delete(WaitingReceipt).where(WaitingReceipt.id.in_(done)))
    return Applied(**counts)
