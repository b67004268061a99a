"""Hearing: finds the deliveries that reports ("words") are about, and sorts the reports.

A report on a delivery that is being sent waits until the result of its send is recorded. A report
on an unknown message is dropped after a while, one on a delivery that was never sent at once.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session as Db

from service import ids
from service.channels.errors import SendError
from service.core import sent_parts, shares, waiting
from service.core.cases import Case
from service.core.sent_parts import Place
from service.core.waiting import DueSession, WaitingReport
from service.database import is_postgres
from service.models import Delivery, DeliveryStatus

_WAIT = 1_000
"""Milliseconds until the next try, if the delivery is still being sent."""

_PATIENCE = 600_000
"""Milliseconds after which a receipt for an unknown message is dropped. The ids of parts are stored
together with the last part, and a rate may delay that. The tries become less frequent."""


class AccountReport(NamedTuple):
    """A report on a session's account: why it cannot send, or None if it can."""

    session_id: str
    error: SendError | None


@dataclass(slots=True)
class HeardReports:
    """Sorted reports: cases, reports on accounts, and reports kept for `later`.

    `unknown` counts reports on unknown messages, `untimely` those on deliveries that were never
    sent.
    """

    cases: dict[str, Case] = field(default_factory=dict)
    accounts: list[AccountReport] = field(default_factory=list)
    later: list[tuple[WaitingReport, int]] = field(default_factory=list)
    applied: int = 0
    unknown: int = 0
    untimely: int = 0

    def in_order(self) -> list[Case]:
        """Return the deliveries with their words, by id."""
        return [self.cases[delivery_id] for delivery_id in sorted(self.cases)]


def hear(
    db: Db, words: Sequence[WaitingReport], sessions: Sequence[DueSession], *, now: int
) -> HeardReports:
    """Lock the deliveries that reports are about, and sort the reports."""
    places = _places(db, words, sessions)
    found = _lock(db, {place.delivery_id for place in places if place})
    places = _redirect(db, places, found)
    named = {place.delivery_id for place in places if place}
    sending = _existing(db, named - found.keys())
    heard = HeardReports()
    for word, place in zip(words, places, strict=True):
        if place is None:
            _hear_nameless(heard, word, now)
        elif place.delivery_id in sending:
            heard.later.append((word, now + _WAIT))
        else:
            _hear(heard, word, place, found.get(place.delivery_id), now)
    return heard


def _hear_nameless(heard: HeardReports, word: WaitingReport, now: int) -> None:
    """Sort a report on the account, or on an unknown message."""
    age = now - word.received_at
    if word.state == waiting.ACCOUNT:
        heard.accounts.append(AccountReport(word.session_id, waiting.error(word, now)))
    elif age >= _PATIENCE:
        heard.unknown += 1
    else:
        heard.later.append((word, now + max(_WAIT, 3 * age)))


def _hear(
    heard: HeardReports, word: WaitingReport, place: Place, known: Row[Any] | None, now: int
) -> None:
    """Sort a report on a delivery, if the delivery exists."""
    if known is None or known.session_id != word.session_id or place.part >= known.parts:
        heard.unknown += 1
    elif _is_untouched(known):
        heard.untimely += 1
    else:
        heard.applied += 1
        case = heard.cases.get(place.delivery_id)
        if case is None:
            case = heard.cases[place.delivery_id] = Case(known, now)
        case.words.append((word, place.part))


def _is_untouched(delivery: Row[Any]) -> bool:
    """Return whether a delivery was never given to a provider: no attempt left a trace.

    A failed delivery has a code, even if it expired, or its recipient opted out, before an attempt.
    """
    if delivery.attempts or delivery.message_ids:
        return False
    is_new = delivery.status == DeliveryStatus.QUEUED and not delivery.code
    return is_new or delivery.status == DeliveryStatus.FAILED


def _places(
    db: Db, words: Sequence[WaitingReport], sessions: Sequence[DueSession]
) -> Sequence[Place | None]:
    """Find the parts that reports are about, by our reference or the provider's id."""
    nameless: dict[str, dict[str, str]] = {}
    for word in words:
        if word.delivery_id is None and word.state != waiting.ACCOUNT:
            nameless.setdefault(word.session_id, {})[word.message_id] = word.recipients
    owners = [each for each in sessions if each.session_id in nameless]
    looks = shares.among_sessions(owners, sent_parts.MOST_LOOKS)
    known = {
        (session_id, message_id): place
        for session_id, forms in nameless.items()
        for message_id, place in sent_parts.find(db, session_id, forms, looks[session_id]).items()
    }
    return [
        Place(word.delivery_id, word.part)
        if word.delivery_id
        else known.get((word.session_id, word.message_id))
        for word in words
    ]


_LOCK: Final = """
    SELECT d.id, d.broadcast_id, d.recipient, d.status, d.attempts, d.due_at, d.message_ids,
        d.progress, d.code, d.reason, d.pricing, d.updated_at,
        b.parts, b.session_id, b.first_way_id
    FROM deliveries AS d JOIN broadcasts AS b ON b.id = d.broadcast_id
    WHERE d.id {chosen} AND d.status <> 'sending' ORDER BY d.id {locked}
"""
_LOCK_SQLITE: Final = text(_LOCK.format(chosen="IN (SELECT value FROM json_each(:ids))", locked=""))
_LOCK_POSTGRES: Final = text(
    _LOCK.format(chosen="= ANY(CAST(:ids AS text[]))", locked="FOR UPDATE OF d SKIP LOCKED")
)


def _lock(db: Db, delivery_ids: Collection[str]) -> dict[str, Row[Any]]:
    """Lock deliveries that are not being sent, skipping those that are locked already."""
    if is_postgres(db):
        rows = db.execute(_LOCK_POSTGRES, {"ids": f"{{{','.join(delivery_ids)}}}"})
    else:
        rows = db.execute(_LOCK_SQLITE, {"ids": json.dumps([*delivery_ids])})
    return {row.id: row for row in rows}


def _redirect(
    db: Db, places: Sequence[Place | None], found: dict[str, Row[Any]]
) -> Sequence[Place | None]:
    """Apply reports on deliveries that have moved to another way to their first way."""
    firsts = {
        row.id: ids.moved(row.id, row.first_way_id) for row in found.values() if row.first_way_id
    }
    if not firsts:
        return places
    gone_on = _existing(db, firsts.values())
    found |= _lock(db, gone_on)
    return [
        place._replace(delivery_id=first)
        if place and (first := firsts.get(place.delivery_id)) in gone_on
        else place
        for place in places
    ]


def _existing(db: Db, delivery_ids: Collection[str]) -> set[str]:
    if not delivery_ids:
        return set()
    return set(db.scalars(select(Delivery.id).where(Delivery.id.in_(delivery_ids))))
