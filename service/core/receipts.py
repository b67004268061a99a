"""Receipts: a provider's later reports, stored at once and applied afterwards.

A webhook stores receipts and answers. A dispatcher applies many in one transaction;
`core.deliveries.progress` decides what they change, and dispatch judges what a failure means.
`core.hearing` finds what they are about.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy.orm import Session as Db

from service.channels.webhooks import Notice, Receipt
from service.config import MIB
from service.core import costs, hearing, shares, waiting
from service.core.cases import Case, Judge
from service.core.costs import ChargeKey
from service.core.decisions import Decision
from service.core.deliveries import events, opted_out, tallies, transitions
from service.core.deliveries.transitions import Move
from service.core.hearing import AccountReport
from service.core.waiting import Amount, DueSession, WaitingReport
from service.database import CACHE
from service.errors import TooManyReportsError
from service.models import DeliveryStatus

MOST_WAITING: Final = 100_000
"""The most reports on a session that wait. More are refused; providers repeat them."""

MOST_BYTES: Final = 64 * MIB
"""The most bytes of these. A usual report has 60 to 150, one with long texts up to 54,000."""

_KNOWN_FOR = 1_000
"""Milliseconds for which a process goes by a count of what waits, while a tenth of the room that it
found is not used up: to count as many rows for each webhook would take longer than to store it."""

_ROOMS_KNOWN: Final = 10_000
"""How many sessions' room a process remembers. Beyond that it forgets all, and counts again."""


@dataclass(slots=True)
class Applied:
    """The result of applying a batch of reports.

    `unknown` counts reports on unknown messages, `untimely` those on deliveries that were never
    sent; both are dropped. `queued` counts deliveries to send again. `arrived` are the broadcasts
    with a delivered or read message. `is_full`: more reports may be due.
    """

    applied: int = 0
    unknown: int = 0
    untimely: int = 0
    waiting: int = 0
    queued: int = 0
    is_full: bool = False
    decisions: list[Decision] = field(default_factory=list)
    heard: list[AccountReport] = field(default_factory=list)
    arrived: set[str] = field(default_factory=set)


def store(db: Db, session_id: str, words: Sequence[Receipt | Notice], *, now: int) -> None:
    """Store reports on a session's messages and account for a dispatcher.

    Raises TooManyReportsError if too many are waiting.
    """
    if words:
        rows = waiting.pack(session_id, words, now=now)
        _take_room(db, session_id, waiting.size(rows), now)
        waiting.keep(db, rows)


class _Room(NamedTuple):
    """The room for reports on a session, and how much of it this process has used."""

    found: Amount
    used: Amount
    found_at: int

    def with_use(self, wanted: Amount) -> _Room:
        """Return the room once some more is used."""
        reports, size = self.used
        return self._replace(used=Amount(reports + wanted.reports, size + wanted.bytes))

    def is_roomy(self) -> bool:
        """Return whether no more than a tenth is used."""
        return self.used.fits(Amount(self.found.reports // 10, self.found.bytes // 10))


def _take_room(db: Db, session_id: str, wanted: Amount, now: int) -> None:
    """Raise TooManyReportsError if a session has no room for this many more reports."""
    rooms: dict[str, _Room] = db.info.setdefault(CACHE, {}).setdefault("receipts", {})
    room = rooms.get(session_id)
    if room is None or abs(now - room.found_at) >= _KNOWN_FOR or not _is_told(room, wanted):
        reports, size = waiting.amount(db, session_id)
        room = _Room(Amount(MOST_WAITING - reports, MOST_BYTES - size), Amount(0, 0), now)
    if len(rooms) >= _ROOMS_KNOWN:
        rooms.clear()
    if not wanted.fits(room.found):
        # Remember it, so that the next request for as much is refused without a count.
        rooms[session_id] = room
        raise TooManyReportsError
    rooms[session_id] = room.with_use(wanted)


def _is_told(room: _Room, wanted: Amount) -> bool:
    """Return whether the known room suffices to decide, without a new count."""
    return not wanted.fits(room.found) or room.with_use(wanted).is_roomy()


def apply(db: Db, sessions: Sequence[DueSession], limit: int, judge: Judge, *, now: int) -> Applied:
    """Apply about `limit` due reports, an equal share per client, then per session.

    The caller carries out the decisions on failures and the reports on accounts.
    """
    result = Applied()
    sessions = _in_turn(sessions)
    if words := _take(db, sessions, limit, result, now):
        opted_out.queueing(db)
        heard = hearing.hear(db, words, sessions, now=now)
        _bring_forward(db, heard.in_order(), judge, result, now=now)
        waiting.keep_again(db, heard.later)
        result.heard = heard.accounts
        result.applied, result.waiting = heard.applied, len(heard.later)
        result.unknown, result.untimely = heard.unknown, heard.untimely
    return result


def _take(
    db: Db, sessions: Sequence[DueSession], limit: int, result: Applied, now: int
) -> list[WaitingReport]:
    """Take the oldest reports on each session, up to its share.

    A row is taken as a whole. If that fills the batch, other sessions get the next one.
    """
    words: list[WaitingReport] = []
    due = shares.among_sessions(sessions, limit)
    for _, session_id in sessions:
        if len(words) >= limit or not due[session_id]:
            result.is_full = True
            continue
        taken = waiting.take(db, session_id, due[session_id], now=now)
        result.is_full |= len(taken) >= due[session_id]
        words += taken
    return words


def _in_turn(sessions: Sequence[DueSession]) -> list[DueSession]:
    """Order sessions at random, but the first one of each client before anybody's second.

    The last session may get nothing of a batch, so the order changes each time. A client with many
    sessions is not first more often than others.
    """
    rounds: Counter[str] = Counter()
    clients = {each.client_id for each in sessions}
    places = dict(zip(clients, random.sample(range(len(clients)), len(clients)), strict=True))
    placed: list[tuple[int, int, DueSession]] = []
    for each in random.sample(sessions, len(sessions)):
        placed.append((rounds[each.client_id], places[each.client_id], each))
        rounds[each.client_id] += 1
    return [each for _, _, each in sorted(placed)]


def _bring_forward(
    db: Db, cases: Sequence[Case], judge: Judge, result: Applied, *, now: int
) -> None:
    moves: list[Move] = []
    charges: Counter[ChargeKey] = Counter()
    gains: dict[str, Counter[str]] = {}
    for case in cases:
        case.hear(judge)
        result.decisions += case.decisions
        broadcast_id = case.delivery.broadcast_id
        if case.has_moved():
            moves.append(case.move())
            case.count(gains.setdefault(broadcast_id, Counter()))
            charges.update(case.charges())
        if case.has_arrived():
            result.arrived.add(broadcast_id)
    events.keep(db, [event for case in cases for event in case.events])
    transitions.bring_forward(db, moves)
    tallies.move(db, gains, touched=(move.id for move in moves), now=now)
    costs.note(db, charges)
    queued = [move.id for move in moves if move.status is DeliveryStatus.QUEUED]
    result.queued += len(queued)
    opted_out.suppress_some(db, queued, now=now)
