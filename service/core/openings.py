"""Openings: the stored times at which windows open and close, which claims read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, select, true, update
from sqlalchemy.orm import Session as Db

from service.core import hours, moments
from service.core.hours import ALWAYS, Span, Window
from service.models import Broadcast, Session

_MOST = 1_000
"""Windows that one sweep moves on of each table."""


def span(window: Mapping[str, Any] | None, now: int) -> Span:
    """Return the first time from `now` in which a window is open; always, without a window.

    A window in the zone of each recipient is always open here: `core.deliveries.gates` applies it.
    """
    return hours.read(window).span(now) if window and not hours.is_recipients(window) else ALWAYS


def move_on(db: Db, *, now: int) -> None:
    """Store when closed windows open next.

    The version of the rows stays, because no client changed them.
    """
    _move_on(db, Broadcast, Broadcast.closed_at.is_(None), now)
    _move_on(db, Session, true(), now)


def _move_on(
    db: Db, table: type[Broadcast | Session], needed: ColumnElement[bool], now: int
) -> None:
    closed = select(table.id, table.window, table.closes_at).where(needed, table.closes_at <= now)
    for row in db.execute(closed.limit(_MOST)).all():
        mine = update(table).where(table.id == row.id, table.closes_at == row.closes_at)
        moved = mine.values(**span(row.window, now)._asdict(), updated_at=table.updated_at)
        db.execute(moved.execution_options(synchronize_session=False))


def windows(broadcast: Broadcast, session: Session | None) -> list[Window]:
    """Return the windows that must all be open for a broadcast to be sent."""
    return hours.read_all(broadcast.window, session.window if session else None)


def opening(broadcast: Broadcast, session: Session | None, now: int) -> int | None:
    """Return when a broadcast may be sent by its windows, `now` at the earliest.

    Returns None if they are never open at the same time.
    """
    return hours.opening(windows(broadcast, session), now)


def wait(broadcast: Broadcast, session: Session | None, now: int) -> str | None:
    """Return the reason of a broadcast that waits for its windows; None if they are open."""
    opens_at = opening(broadcast, session, now)
    if opens_at == now:
        return None
    if opens_at is None:
        return NEVER
    return f"Outside of its window: it is sent from {moments.show(opens_at)}."


NEVER = (
    "The windows of this broadcast and its session are never open at the same time. Change one of"
    " them."
)
