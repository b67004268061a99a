"""Gates: which claimed deliveries may go now, by the zone of their recipient and a daily limit.

Deliveries that must wait return to the queue, due when they may go. So do the deliveries behind
them. Claims find only due deliveries, so broadcasts without a gate cost nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy.orm import Session as Db

from service.core import daily_limits, hours, moments, openings, zones
from service.core.daily_limits import LEAVES_WITHIN, CountedRecipients, DailyLimit
from service.core.deliveries.claims import Claimed
from service.core.hours import ALWAYS, Span
from service.database import is_postgres
from service.models import FOREVER, Broadcast, Delivery, DeliveryStatus, Session

_MOST: Final = 5_000
"""Deliveries that one claim puts off, beside what it has claimed."""


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """The conditions of a broadcast that differ between its recipients.

    `windows` are those of the broadcast and its session, if one of them is in the recipient's zone.
    """

    windows: tuple[Mapping[str, Any], ...] = ()
    limit: DailyLimit | None = None
    _spans: dict[tuple[str, ...], Span] = field(default_factory=dict)

    def span(self, recipient: str, now: int) -> Span:
        """Return the first time from `now` in which all windows of a recipient are open."""
        if not self.windows:
            return ALWAYS
        names = zones.of(recipient)
        span = self._spans.get(names)
        if span is None or span.closes_at <= now:
            open_ones = hours.read_all(*self.windows, zones=names)
            span = next(hours.spans(open_ones, now), Span(FOREVER, FOREVER))
            self._spans[names] = span
        return span


def of(broadcast: Broadcast, session: Session) -> Gate | None:
    """Return the gate of a broadcast, if it has one."""
    windows = tuple(each for each in (broadcast.window, session.window) if each)
    if not any(map(hours.is_recipients, windows)):
        windows = ()
    limit = daily_limits.of(session)
    return Gate(windows, limit) if windows or limit else None


def let_pass(
    db: Db, claim_id: str, claimed: Sequence[Claimed], gates: Mapping[str, Gate], *, now: int
) -> dict[str, int]:
    """Requeue claimed deliveries that must wait; return until when the others may go, by id."""
    limits = {gate.limit for gate in gates.values() if gate.limit}
    groups = daily_limits.lock(db, limits, now=now)
    until: dict[str, int] = {}
    for broadcast_id, gate in gates.items():
        # Postgres returns claimed rows in any order.
        mine = sorted(each for each in claimed if each.broadcast_id == broadcast_id)
        counted = groups[gate.limit[:2]] if gate.limit else None
        until |= _Passage(db, broadcast_id, gate, counted, now).let_pass(claim_id, mine)
    return until


_NEXT = text("""
    SELECT id, recipient FROM deliveries
    WHERE broadcast_id = :broadcast_id AND status = 'queued' AND due_at <= :now
    ORDER BY due_at, id LIMIT :most
""")
_NEXT_POSTGRES = text(f"{_NEXT.text} FOR UPDATE SKIP LOCKED")
_AHEAD = text("""
    SELECT count(*) FROM deliveries
    WHERE broadcast_id = :broadcast_id AND status = 'queued' AND due_at > :now
""")
_DUE_BY = text("""
    SELECT due_at FROM deliveries
    WHERE broadcast_id = :broadcast_id AND status = 'queued'
        AND due_at > :now AND due_at <= :last
    ORDER BY due_at
""")
_PUT_OFF = """
    UPDATE deliveries
    SET status = 'queued', claim_id = NULL, due_at = later.due_at, updated_at = :now
    FROM {later}
    WHERE deliveries.id = later.id AND (status = 'queued'
        OR (status = 'sending' AND claim_id = :claim_id))
"""
_PUT_OFF_POSTGRES = text(
    _PUT_OFF.format(
        later="unnest(CAST(:ids AS text[]), CAST(:due_ats AS bigint[])) AS later(id, due_at)"
    )
)
_PUT_OFF_SQLITE = text(
    _PUT_OFF.format(later="(SELECT key AS id, value AS due_at FROM json_each(:due_ats)) AS later")
)


class GateReason(NamedTuple):
    """Why, and until when, all remaining deliveries of a broadcast wait.

    `limit` is the limit they wait for. Without one, they wait for the hours of their recipients.
    """

    until: int
    limit: DailyLimit | None

    def __str__(self) -> str:
        """Return the reason for clients."""
        if self.until == FOREVER:
            return openings.NEVER
        on = f"it is sent from {moments.show(self.until)}."
        if self.limit is None:
            return f"Outside of its window where its recipients are: {on}"
        return f"Its session has reached its daily_limit of {self.limit.most:,} people: {on}"


def wait(db: Db, broadcast: Broadcast, session: Session, *, now: int) -> GateReason | None:
    """Return what a broadcast waits for, None if any of its deliveries may go now."""
    gate = of(broadcast, session)
    if gate is None:
        return None
    until = db.scalar(_FIRST_DUE, {"broadcast_id": broadcast.id})
    if until is None or until <= now:
        return None
    is_full = gate.limit is not None and daily_limits.is_reached(db, gate.limit, now=now)
    return GateReason(until, gate.limit if is_full else None)


_FIRST_DUE = text("""
    SELECT due_at FROM deliveries
    WHERE broadcast_id = :broadcast_id AND status = 'queued' ORDER BY due_at LIMIT 1
""")


def look_again(db: Db, which: ColumnElement[bool], *, now: int) -> None:
    """Make the postponed deliveries of some open broadcasts due now, because their gate changed."""
    mine = select(Broadcast.id).where(which, Broadcast.closed_at.is_(None))
    waiting = update(Delivery).where(
        Delivery.broadcast_id.in_(mine),
        Delivery.status == DeliveryStatus.QUEUED,
        Delivery.due_at > now,
        Delivery.attempts == 0,
    )
    db.execute(waiting.values(due_at=now).execution_options(synchronize_session=False))


def surplus(freed: Sequence[int], dues: Sequence[int]) -> list[int]:
    """Return the times in `freed` that nobody waits for, in order; people wait for `dues`.

    A broadcast that was paused starts later each day than planned. Without this, people for whom
    there is no room yet would move behind all others, and that day's room would be lost.
    """
    found: list[int] = []
    waiting = 0
    for number, moment in enumerate(freed, start=1):
        while waiting < len(dues) and dues[waiting] <= moment:
            waiting += 1
        if number - len(found) > waiting:
            found.append(moment)
    return found


class _Row(NamedTuple):
    """A delivery that may have to wait."""

    id: str
    recipient: str


@dataclass(frozen=True, slots=True)
class _Passage:
    """The gate of a broadcast at a moment, and who counts towards its limit if it has one."""

    db: Db
    broadcast_id: str
    gate: Gate
    counted: CountedRecipients | None
    now: int

    def let_pass(self, claim_id: str, claimed: Sequence[Claimed]) -> dict[str, int]:
        """Requeue deliveries that must wait; return until when the others may go, by id."""
        spans = {each.id: self.gate.span(each.recipient, self.now) for each in claimed}
        open_ones = [each for each in claimed if spans[each.id].opens_at <= self.now]
        passing = {each.id for each in self._admitted(open_ones)}
        if len(passing) < len(claimed):
            refused = [_Row(each.id, each.recipient) for each in claimed if each.id not in passing]
            self._put_off(claim_id, refused)
        latest = self.now + LEAVES_WITHIN if self.counted else FOREVER
        return {each: min(spans[each].closes_at, latest) for each in passing}

    def _admitted(self, claimed: Sequence[Claimed]) -> Sequence[Claimed]:
        """Count the recipients of some deliveries; return the deliveries that the limit allows."""
        if self.counted is None or self.gate.limit is None:
            return claimed
        people = [each.recipient for each in claimed]
        admitted = self.counted.admit(people, self.gate.limit.most)
        return [each for each in claimed if each.recipient in admitted]

    def _put_off(self, claim_id: str, refused: Sequence[_Row]) -> None:
        """Postpone the refused deliveries, and those behind them that must wait, too."""
        known = self._counted_among(rows := [*refused, *self._next()])
        due_ats: dict[str, int] = {}
        waiting: list[str] = []
        for row in rows:
            opens_at = self.gate.span(row.recipient, self.now).opens_at
            if opens_at > self.now:
                due_ats[row.id] = opens_at
            elif known is not None and row.recipient not in known:
                waiting.append(row.id)
        due_ats |= dict(zip(waiting, self._turns(len(waiting)), strict=True))
        self._write(claim_id, due_ats)

    def _next(self) -> Iterator[_Row]:
        """Yield the next deliveries that are due."""
        values = {"broadcast_id": self.broadcast_id, "now": self.now, "most": _MOST}
        yield from starmap(
            _Row, self.db.execute(_NEXT_POSTGRES if is_postgres(self.db) else _NEXT, values)
        )

    def _counted_among(self, rows: Sequence[_Row]) -> set[str] | None:
        """Return who counts already; None if there is no limit, or it has room for everybody."""
        if self.counted is None or self.gate.limit is None:
            return None
        if self.counted.count < self.gate.limit.most:
            return None
        return self.counted.known([row.recipient for row in rows])

    def _turns(self, number: int) -> Iterable[int]:
        """Return when the limit has room for this many more people, besides those waiting."""
        if not number or self.counted is None or self.gate.limit is None:
            return []
        values = {"broadcast_id": self.broadcast_id, "now": self.now}
        freed = self.counted.freed(self.gate.limit.most)
        dues = self.db.scalars(_DUE_BY, values | {"last": freed[-1]}).all()
        early = surplus(freed, dues)[:number]
        ahead = self.db.scalar(_AHEAD, values) or 0
        behind = range(ahead + len(early), ahead + number)
        places = (divmod(each, len(freed)) for each in behind)
        return [*early, *(freed[place] + days * daily_limits.DAY for days, place in places)]

    def _write(self, claim_id: str, due_ats: Mapping[str, int]) -> None:
        values: dict[str, Any] = {"claim_id": claim_id, "now": self.now}
        if is_postgres(self.db):
            values |= {"ids": [*due_ats], "due_ats": [*due_ats.values()]}
            self.db.execute(_PUT_OFF_POSTGRES, values)
        else:
            self.db.execute(_PUT_OFF_SQLITE, values | {"due_ats": json.dumps(due_ats)})
