"""Receipts: a provider's later reports, stored at once and applied afterwards.

A webhook stores receipts and answers. A dispatcher applies many in one transaction;
`core.deliveries.progress` decides what they change, and dispatch judges what a failure means. A
receipt waits until the result of its send is recorded. A receipt for an unknown message is counted
and dropped after a while.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Row, Table, bindparam, delete, func, insert, select, text, update
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.errors import SendError
from service.channels.webhooks import Notice, Receipt
from service.core import costs, sent_parts, shares, waiting
from service.core.cases import Case, Judge
from service.core.costs import ChargeKey
from service.core.decisions import Decision
from service.core.deliveries import events, opted_out, tallies, transitions
from service.core.sent_parts import Place
from service.errors import TooManyReportsError
from service.models import Broadcast, Delivery, DeliveryStatus, WaitingReceipt

MOST_WAITING: Final = 100_000
"""The most waiting receipts of a session. More are refused; providers repeat them."""

_WAIT = 1_000
"""Milliseconds until the next try, if the delivery is still being sent."""

_PATIENCE = 600_000
"""Milliseconds after which a receipt for an unknown message is dropped. The ids of parts are stored
together with the last part, and a rate may delay that. The tries become less frequent."""


_TABLE = cast("Table", WaitingReceipt.__table__)
"""Rows instead of ORM objects, which would take a third of the time."""


class AccountReport(NamedTuple):
    """A report on a session's account: why it cannot send, or None if it can."""

    session_id: str
    error: SendError | None


class _Fate(StrEnum):
    """What to do with a report."""

    HEARD = "heard"
    APPLIED = "applied"
    UNKNOWN = "unknown"
    UNTIMELY = "untimely"
    WAITING = "waiting"


@dataclass(slots=True)
class Applied:
    """The result of applying a batch of reports.

    `unknown` counts reports on unknown messages, `untimely` those on deliveries that were never
    sent; both are dropped. `arrived` are the broadcasts with a delivered or read message.
    `is_full`: more reports may be due.
    """

    applied: int = 0
    unknown: int = 0
    untimely: int = 0
    waiting: int = 0
    is_full: bool = False
    decisions: list[Decision] = field(default_factory=list)
    heard: list[AccountReport] = field(default_factory=list)
    arrived: set[str] = field(default_factory=set)


def store(db: Db, session_id: str, words: Sequence[Receipt | Notice], *, now: int) -> None:
    """Store reports on a session's messages and account for a dispatcher.

    Raises TooManyReportsError if too many are waiting.
    """
    if words:
        mine = select(WaitingReceipt.session_id).where(WaitingReceipt.session_id == session_id)
        some = mine.limit(MOST_WAITING).subquery()
        if (db.scalar(select(func.count()).select_from(some)) or 0) + len(words) > MOST_WAITING:
            raise TooManyReportsError
        db.execute(insert(_TABLE), [waiting.row(session_id, word, now) for word in words])


_SESSIONS = text("""
    WITH RECURSIVE told(id) AS (
        SELECT min(session_id) FROM waiting_receipts
        UNION ALL
        SELECT (SELECT min(session_id) FROM waiting_receipts WHERE session_id > told.id)
        FROM told WHERE told.id IS NOT NULL)
    SELECT s.client_id, s.id AS session_id FROM told JOIN sessions AS s ON s.id = told.id
    WHERE EXISTS (
        SELECT 1 FROM waiting_receipts AS w WHERE w.session_id = told.id AND w.due_at <= :now)
""")


class DueSession(NamedTuple):
    """A session with due reports, and its client."""

    client_id: str
    session_id: str


def due(db: Db, *, now: int) -> list[DueSession]:
    """Return the sessions with due reports: one index step per session."""
    return [DueSession(*row) for row in db.execute(_SESSIONS, {"now": now})]


def apply(db: Db, sessions: Sequence[DueSession], limit: int, judge: Judge, *, now: int) -> Applied:
    """Apply up to `limit` due reports, an equal share per client, then per session.

    The caller carries out the decisions on failures and the reports on accounts.
    """
    result = Applied()
    if rows := _take(db, sessions, limit, result, now):
        opted_out.queueing(db)
        places = _places(db, rows, sessions)
        named = {place.delivery_id for place in places.values()}
        found = _lock(db, named)
        _redirect(db, places, found)
        named = {place.delivery_id for place in places.values()}
        sending = _existing(db, named - found.keys())
        fates = [(row, _fate(row, places.get(row.id), found, sending, now)) for row in rows]
        _bring_forward(db, _cases(fates, places, found, now), judge, result, now=now)
        _put_away(db, fates, places, result, now)
    return result


def _take(
    db: Db, sessions: Sequence[DueSession], limit: int, result: Applied, now: int
) -> list[Row[Any]]:
    """Lock the oldest reports of each session, as far as its share goes.

    In any order: if there are more sessions than reports in a batch, others get the next one.
    """
    rows: list[Row[Any]] = []
    in_any_order = random.sample(sessions, len(sessions))
    for session_id, share in shares.among_sessions(in_any_order, limit).items():
        if not share:
            result.is_full = True
            continue
        mine = (
            select(*_TABLE.columns)
            .where(WaitingReceipt.session_id == session_id, WaitingReceipt.due_at <= now)
            .order_by(WaitingReceipt.due_at, WaitingReceipt.id)
            .limit(share)
            .with_for_update(skip_locked=True)
        )
        taken = db.execute(mine).all()
        result.is_full |= len(taken) == share
        rows += taken
    return rows


def _places(db: Db, rows: Sequence[Row[Any]], sessions: Sequence[DueSession]) -> dict[str, Place]:
    """Find the parts that reports are about: by our reference or the provider's id."""
    places: dict[str, Place] = {}
    nameless: dict[str, list[Row[Any]]] = {}
    for row in rows:
        if row.delivery_id is not None:
            places[row.id] = Place(row.delivery_id, row.part or 0)
        elif row.state != waiting.ACCOUNT:
            nameless.setdefault(row.session_id, []).append(row)
    owners = [each for each in sessions if each.session_id in nameless]
    looks = shares.among_sessions(owners, sent_parts.MOST_LOOKS)
    for session_id, words in nameless.items():
        forms = {row.message_id: row.recipients or "" for row in words}
        known = sent_parts.find(db, session_id, forms, looks[session_id])
        places |= {row.id: known[row.message_id] for row in words if row.message_id in known}
    return places


def _lock(db: Db, delivery_ids: Iterable[str]) -> dict[str, Row[Any]]:
    """Lock deliveries that are not being sent, skipping those that are locked already."""
    rows = db.execute(
        select(*Delivery.__table__.columns, *_OF_BROADCAST)
        .join(Broadcast, Broadcast.id == Delivery.broadcast_id)
        .where(Delivery.id.in_(delivery_ids), Delivery.status != DeliveryStatus.SENDING)
        .order_by(Delivery.id)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    return {row.id: cast("Row[Any]", row) for row in rows}


_OF_BROADCAST = (Broadcast.parts, Broadcast.session_id, Broadcast.first_way_id)


def _redirect(db: Db, places: dict[str, Place], found: dict[str, Row[Any]]) -> None:
    """Apply reports on deliveries that have gone on by another way to their first way."""
    firsts = {
        row.id: ids.moved(row.id, row.first_way_id) for row in found.values() if row.first_way_id
    }
    if not firsts:
        return
    gone_on = _existing(db, firsts.values())
    found |= _lock(db, gone_on)
    for row_id, place in places.items():
        if (first := firsts.get(place.delivery_id)) in gone_on:
            places[row_id] = Place(str(first), place.part)


def _existing(db: Db, delivery_ids: Iterable[str]) -> set[str]:
    if not delivery_ids:
        return set()
    return set(db.scalars(select(Delivery.id).where(Delivery.id.in_(delivery_ids))))


def _fate(
    row: Row[Any], place: Place | None, found: dict[str, Row[Any]], sending: set[str], now: int
) -> _Fate:
    if row.state == waiting.ACCOUNT:
        return _Fate.HEARD
    if place is None:
        is_old = now - row.received_at >= _PATIENCE
        return _Fate.UNKNOWN if is_old else _Fate.WAITING
    if place.delivery_id in sending:
        return _Fate.WAITING
    known = found.get(place.delivery_id)
    if known is None or known.session_id != row.session_id or place.part >= known.parts:
        return _Fate.UNKNOWN
    return _Fate.UNTIMELY if _is_untouched(known) else _Fate.APPLIED


def _is_untouched(delivery: Row[Any]) -> bool:
    """Return whether a delivery was never given to a provider: no attempt left a trace.

    One that failed has a code, also where it expired or its recipient opted out before an attempt.
    """
    if delivery.attempts or delivery.message_ids:
        return False
    is_new = delivery.status == DeliveryStatus.QUEUED and not delivery.code
    return is_new or delivery.status == DeliveryStatus.FAILED


def _cases(
    fates: Iterable[tuple[Row[Any], _Fate]],
    places: dict[str, Place],
    found: dict[str, Row[Any]],
    now: int,
) -> list[Case]:
    """Return the deliveries with their reports, by id."""
    cases: dict[str, Case] = {}
    for row, fate in fates:
        if fate is _Fate.APPLIED:
            place = places[row.id]
            if place.delivery_id not in cases:
                cases[place.delivery_id] = Case(found[place.delivery_id], now)
            cases[place.delivery_id].words.append((row, place.part))
    return [cases[delivery_id] for delivery_id in sorted(cases)]


def _bring_forward(
    db: Db, cases: Sequence[Case], judge: Judge, result: Applied, *, now: int
) -> None:
    moves: list[dict[str, object]] = []
    charges: Counter[ChargeKey] = Counter()
    gains: dict[str, Counter[str]] = {}
    for case in cases:
        case.hear(judge)
        result.decisions += case.decisions
        broadcast_id = case.delivery.broadcast_id
        if case.has_moved():
            moves.append(case.move())
            gains.setdefault(broadcast_id, Counter()).update(case.gain())
            charges.update(case.charges())
        if case.has_arrived():
            result.arrived.add(broadcast_id)
    events.keep(db, [event for case in cases for event in case.events])
    transitions.bring_forward(db, moves)
    touched = (str(move["delivery_id"]) for move in moves)
    tallies.move(db, gains, touched=touched, now=now)
    costs.note(db, charges)
    queued = [
        str(move["delivery_id"]) for move in moves if move["new_status"] == DeliveryStatus.QUEUED
    ]
    opted_out.suppress_some(db, queued, now=now)


_LATER = update(WaitingReceipt).where(WaitingReceipt.id == bindparam("row_id"))


def _put_away(
    db: Db,
    fates: Iterable[tuple[Row[Any], _Fate]],
    places: dict[str, Place],
    result: Applied,
    now: int,
) -> None:
    """Delete applied reports and delay the others; those on unknown messages ever longer."""
    dropped, later = [], []
    for row, fate in fates:
        if fate is _Fate.HEARD:
            result.heard.append(AccountReport(row.session_id, waiting.error(row, now)))
        else:
            setattr(result, fate, getattr(result, fate) + 1)
        if fate is _Fate.WAITING:
            age = 0 if row.id in places else now - row.received_at
            later.append({"row_id": row.id, "new_due_at": now + max(_WAIT, 3 * age)})
        else:
            dropped.append(row.id)
    if later:
        connection = db.connection()
        connection.execute(_LATER.values(due_at=bindparam("new_due_at")), later)
    db.execute(delete(WaitingReceipt).where(WaitingReceipt.id.in_(dropped)))
