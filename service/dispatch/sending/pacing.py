"""Rate limiting: one pace per session, shared by all processes.

It is the generic cell rate algorithm (GCRA). The session's row stores the time up to which its pace
is used. The claiming transaction moves that time. A claim reserves slots in the near future, evenly
spaced or with the session's jitter, and the sender waits for the slot of each delivery.
"""

from __future__ import annotations

import math
from random import SystemRandom
from typing import Final, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from service.core.paces import Pace
from service.models import Session

HORIZON = 1_000_000
"""How far ahead slots are reserved, in microseconds. It bounds what a claim holds unsent."""

WORTHWHILE = HORIZON // 4
"""The smallest reservation, in microseconds: each claim costs a transaction."""

MARGIN = 0.965
"""Fraction of the rate that is used, so that no second at the provider exceeds the rate.

Below one message a second, it is a fraction of that second only: see `offer`.
"""

LATE = round(1_000_000 * (1 / MARGIN - 1))
"""Microseconds after its slot in which a message may be sent. The margin compensates for them."""

_CHANCE: Final = SystemRandom()


class Slots(NamedTuple):
    """Times to send at, in microseconds of Unix time.

    `interval` separates one from the next, and up to `spread` more, at random.
    """

    first: int
    interval: int
    free: int
    spread: int = 0

    def draw(self) -> int:
        """Return the time from one slot to the next."""
        return self.interval + (_CHANCE.randrange(self.spread + 1) if self.spread else 0)


def offer(paced_until: int, pace: Pace, now: int) -> Slots:
    """Return the free slots within the horizon; `now` is in microseconds."""
    interval, longest = _interval(pace.least), _interval(pace.most)
    first = max(paced_until, now)
    room = now + HORIZON - first
    free = -(-2 * room // (interval + longest)) if room >= WORTHWHILE else 0
    return Slots(first, interval, free, longest - interval)


def _interval(seconds: float) -> int:
    """Return the microseconds between two slots.

    As many messages as fit in a second, or one if there are fewer, may be late together.
    """
    return math.ceil(1_000_000 * seconds + LATE * min(seconds, 1.0))


def next_look(spoken_for: int) -> int:
    """Return when enough slots are free again for a pace that is used up to `spoken_for`."""
    return spoken_for - HORIZON + WORTHWHILE


def offers(db: Db, paces: dict[str, Pace], *, now: int) -> dict[str, Slots]:
    """Return the free slots of each session, and lock their rows until the transaction ends."""
    if not paces:
        return {}
    rows = (
        select(Session.id, Session.paced_until)
        .where(Session.id.in_(paces))
        .order_by(Session.id)
        .with_for_update()
    )
    return {row.id: offer(row.paced_until, paces[row.id], now) for row in db.execute(rows)}


def reserve(db: Db, spoken_for: dict[str, int]) -> None:
    """Store up to when the pace of each session is used, in microseconds of Unix time."""
    for session_id, until in spoken_for.items():
        reserved = update(Session).where(Session.id == session_id)
        # Keep `updated_at`: pacing is not a change that the client made.
        db.execute(reserved.values(paced_until=until, updated_at=Session.updated_at))
