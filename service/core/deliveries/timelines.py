"""Timelines: how the counters of a broadcast moved, in buckets that are kept while they move.

The younger a broadcast, the finer its buckets. The width follows from its age alone, so nothing is
ever rewritten, and a broadcast has some 550 buckets after a month, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session as Db

from service.models import COUNTED, Broadcast, TimelineBucket

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

_WIDTHS: Final = (
    (10 * _MINUTE, 5 * _SECOND),
    (3 * _HOUR, _MINUTE),
    (_DAY, 10 * _MINUTE),
    (30 * _DAY, 6 * _HOUR),
)
"""Up to which age, in milliseconds, buckets have which width; each age is a multiple of the next
width, so that no bucket reaches beyond it."""

_HANDED_OVER: Final = ("sent", "delivered", "read")
_ENDED: Final = ("failed", "cancelled", "uncertain")

_WIDEST: Final = 30 * _DAY


class Moved(NamedTuple):
    """By how much the counters of a broadcast moved; `began` is when it may have begun to."""

    broadcast_id: str
    began: int
    gain: Mapping[str, int]


class Bucket(NamedTuple):
    """By how much the counters moved between two moments."""

    start: int
    end: int
    gain: dict[str, int]

    @property
    def settled(self) -> int:
        """How many deliveries ended, without those that a retry reopened."""
        handed_over = sum(self.gain[name] for name in _HANDED_OVER)
        return max(0, handed_over) + sum(max(0, self.gain[name]) for name in _ENDED)


_ADDED = ", ".join(f"{name} = timeline_buckets.{name} + excluded.{name}" for name in COUNTED)
_KEEP = text(f"""
    INSERT INTO timeline_buckets (broadcast_id, start, {", ".join(COUNTED)})
    VALUES (:broadcast_id, :start, {", ".join(f":{name}" for name in COUNTED)})
    ON CONFLICT (broadcast_id, start) DO UPDATE SET {_ADDED}
""")  # noqa: S608 - the names are ours


def began(created_at: int, send_at: int | None) -> int:
    """Return when the timeline of a broadcast begins."""
    return max(created_at, send_at or 0)


def keep(db: Db, moves: Iterable[Moved], *, now: int) -> None:
    """Add the latest changes to the buckets of their broadcasts."""
    rows = [
        {"broadcast_id": each.broadcast_id, "start": _span(each.began, now)[0], **each.gain}
        for each in moves
    ]
    if rows:
        db.execute(_KEEP, rows)


def read(db: Db, broadcast: Broadcast) -> list[Bucket]:
    """Return the buckets of a broadcast, the oldest first."""
    mine = select(TimelineBucket).where(TimelineBucket.broadcast_id == broadcast.id)
    start = began(broadcast.created_at, broadcast.send_at)
    return [_bucket(row, start) for row in db.scalars(mine.order_by(TimelineBucket.start))]


def points(
    broadcast: Broadcast, buckets: Sequence[Bucket], *, now: int, most: int = 120
) -> list[dict[str, int]]:
    """Return the states of a broadcast over time: at most `most` moments, the last one now's.

    The last point equals the present counters, even if an older version kept no buckets.
    """
    state = {str(name): getattr(broadcast, name) for name in COUNTED}
    found: list[dict[str, int]] = []
    step = max(1, -(-len(buckets) // (most - 1)))
    for number, bucket in enumerate(reversed(buckets)):
        if number % step == 0:
            found.append({"at": min(now, bucket.end), **state})
        state = {name: state[name] - bucket.gain[name] for name in state}
    if buckets:
        found.append({"at": buckets[0].start, **state})
    return found[::-1]


def _bucket(row: Any, start: int) -> Bucket:
    gain = {str(name): getattr(row, name) for name in COUNTED}
    return Bucket(row.start, _span(start, row.start)[1], gain)


def _span(start: int, now: int) -> tuple[int, int]:
    """Return when the bucket for a given time begins and ends."""
    age = max(0, now - start)
    width = next((width for until, width in _WIDTHS if age < until), _WIDEST)
    first = start + age - age % width
    return first, first + width
