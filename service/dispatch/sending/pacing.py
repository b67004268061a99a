"""Rate limiting: one rate per session, shared by all processes.

It is the generic cell rate algorithm (GCRA). The session's row stores the time up to which its rate
is used. The claiming transaction moves that time. A claim reserves evenly spaced slots in the near
future, and the sender waits for the slot of each delivery.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from service.models import Session

HORIZON = 1_000_000
"""How far ahead slots are reserved, in microseconds. It bounds what a claim holds unsent."""

WORTHWHILE = HORIZON // 4
"""The smallest reservation, in microseconds: each claim costs a transaction."""

MARGIN = 0.965
"""Fraction of the rate that is used, so that no second at the provider exceeds the rate."""

LATE = round(1_000_000 * (1 / MARGIN - 1))
"""Microseconds after its slot in which a message may be sent. The margin compensates for them."""

LEAST_RATE = 0.001
"""The lowest rate per second: about four messages an hour."""


class Slots(NamedTuple):
    """Evenly spaced times to send at, in microseconds of Unix time."""

    first: int
    interval: int
    free: int

    def moment(self, number: int) -> int:
        """Return the time of a slot, counted from 0."""
        return self.first + number * self.interval


def offer(paced_until: int, rate: float, now: int) -> Slots:
    """Return the free slots within the horizon; `rate` is per second, `now` in microseconds."""
    interval = math.ceil(1_000_000 / (max(rate, LEAST_RATE) * MARGIN))
    first = max(paced_until, now)
    room = now + HORIZON - first
    return Slots(first, interval, -(-room // interval) if room >= WORTHWHILE else 0)


def next_look(spoken_for: int) -> int:
    """Return when enough slots are free again for a rate that is used up to `spoken_for`."""
    return spoken_for - HORIZON + WORTHWHILE


def offers(db: Db, rates: dict[str, float], *, now: int) -> dict[str, Slots]:
    """Return the free slots of each session, and lock their rows until the transaction ends."""
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
    """Store up to when the rate of each session is used, in microseconds of Unix time."""
    for session_id, until in spoken_for.items():
        reserved = update(Session).where(Session.id == session_id)
        # Keep `updated_at`: pacing is not a change that the client made.
        db.execute(reserved.values(paced_until=until, updated_at=Session.updated_at))
