"""Pacing: one rate per session, whatever the number of processes.

The generic cell rate algorithm (GCRA) with one number a session, the moment up to which its rate
is spoken for, kept on the session's row and moved in the transaction that claims. A claim reserves
evenly spaced slots in the near future; the sender waits for the slot of each delivery.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from service.models import Session

HORIZON = 1_000_000
"""How far ahead slots are reserved, in microseconds: what a claim may hold without sending."""

WORTHWHILE = HORIZON // 4
"""The least that is reserved at a time, in microseconds: a claim is a transaction."""

MARGIN = 0.965
"""Part of the rate that is used, so that no second at the provider sees more than the rate."""

LATE = round(1_000_000 * (1 / MARGIN - 1))
"""Microseconds after its slot in which a message may be sent: as many as the margin makes good."""

LEAST_RATE = 0.001
"""The lowest rate a second that is kept: a message in a quarter of an hour."""


class Slots(NamedTuple):
    """Evenly spaced moments to send at, in microseconds of Unix time."""

    first: int
    interval: int
    free: int

    def moment(self, number: int) -> int:
        """Return the moment of a slot, counted from 0."""
        return self.first + number * self.interval


def offer(paced_until: int, rate: float, now: int) -> Slots:
    """Return the slots that are free within the horizon, for a rate a second; `now` in µs."""
    interval = math.ceil(1_000_000 / (max(rate, LEAST_RATE) * MARGIN))
    first = max(paced_until, now)
    room = now + HORIZON - first
    return Slots(first, interval, -(-room // interval) if room >= WORTHWHILE else 0)


def next_look(spoken_for: int) -> int:
    """Return when it is worthwhile to ask again for slots of a rate that is spoken for so far."""
    return spoken_for - HORIZON + WORTHWHILE


def offers(db: Db, rates: dict[str, float], *, now: int) -> dict[str, Slots]:
    """Return the free slots of sessions by their rates, locked until the transaction ends."""
    if not rates:
        return {}
    rows = (
        select(Session.id, Session.paced_until)
        .where(Session.id.in_(rates))
        .order_by(Session.id)
        .with_for_update()
    )
    return {row.id: offer(row.paced_until, rates[row.id], now) for row in db.execute(rows)}


def reserve(db: Db, spoken_for: dict[str, int]) -> None:
    """Say up to when, in microseconds of Unix time, the rates of sessions are used."""
    for session_id, until in spoken_for.items():
        reserved = update(Session).where(Session.id == session_id)
        # Pacing is no change of the session that its owner should see.
        db.execute(reserved.values(paced_until=until, updated_at=Session.updated_at))
