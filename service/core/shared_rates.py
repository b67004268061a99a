"""Shared rates: what all machines may still allow, kept in the database.

A machine borrows a part of what is left, and less the less is left. Only the database's clock
counts, because those of machines differ.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session as Db

from service.core import rates
from service.core.rates import DrawResult, Rate
from service.database import insert_new
from service.models import SharedRate

_PART: Final = 16
"""A loan is at most this part of what is left, and one event."""

LARGEST: Final = 100
_FORGOTTEN_TOGETHER: Final = 100
_NOW: Final = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")


def lend(db: Db, key: str, rate: Rate, *, now: int | None = None) -> DrawResult:
    """Lend events of a key's rate. `now` is in microseconds, by default of Postgres's clock."""
    mine = SharedRate.key == key
    locked = select(SharedRate.spent_until).where(mine).with_for_update()
    spent_until = db.scalar(locked)
    if spent_until is None:
        insert_new(db, SharedRate, [{"key": key, "spent_until": 0}])
        spent_until = db.scalars(locked).one()
    now = db.scalars(_NOW).one() if now is None else now
    left = rates.draw(rate, spent_until, 0, now=now).left
    drawn = rates.draw(rate, spent_until, min(1 + left // _PART, LARGEST), now=now)
    # Also the end of a clock's error must be kept: see `rates.draw`.
    if drawn.spent_until != spent_until:
        db.execute(update(SharedRate).where(mine).values(spent_until=drawn.spent_until))
    if not spent_until:
        _forget(db, now=now)
    return drawn


def _forget(db: Db, *, now: int) -> None:
    """Delete some keys whose rates are unused: callers from anywhere make new ones."""
    unused = select(SharedRate.key).where(SharedRate.spent_until > 0, SharedRate.spent_until < now)
    some = unused.limit(_FORGOTTEN_TOGETHER).with_for_update(skip_locked=True)
    db.execute(delete(SharedRate).where(SharedRate.key.in_(some)))
