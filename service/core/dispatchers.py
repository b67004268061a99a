"""Dispatchers: registers sending processes, their heartbeats, and detects dead ones."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.orm import Session as Db

from service import ids
from service.database import is_postgres
from service.models import Dispatcher

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


class LostClaimError(Exception):
    """Another process declared this one dead and took over its deliveries."""


def host() -> str:
    """Return an id of this boot of this machine or container: process ids are unique in it.

    Empty if the system does not provide one; then only heartbeats detect dead processes.
    """
    try:
        return f"{_BOOT_ID.read_text().strip()}/{_PID_NAMESPACE.stat().st_ino}"
    except OSError:
        return ""


def register(db: Db, *, now: int) -> str:
    """Register this process; return its id, which marks its claims."""
    dispatcher_id = ids.new()
    place = host() or socket.gethostname()
    values = {"id": dispatcher_id, "host": place, "pid": os.getpid(), "beats": 0}
    db.execute(insert(Dispatcher).values(**values, started_at=now, seen_at=now))
    return dispatcher_id


def beat(db: Db, dispatcher_id: str, *, now: int) -> None:
    """Record a heartbeat; raises LostClaimError if the process was declared dead."""
    beaten = (
        update(Dispatcher)
        .where(Dispatcher.id == dispatcher_id)
        .values(beats=Dispatcher.beats + 1, seen_at=now)
        .returning(Dispatcher.id)
    )
    if db.execute(beaten).one_or_none() is None:
        raise LostClaimError


_HOLD = text("SELECT id FROM dispatchers WHERE id = :id")
_HOLD_POSTGRES = text(f"{_HOLD.text} FOR KEY SHARE")


def hold(db: Db, dispatcher_id: str) -> None:
    """Prevent others from declaring this process dead until commit; raises LostClaimError."""
    mine = _HOLD_POSTGRES if is_postgres(db) else _HOLD
    if db.execute(mine, {"id": dispatcher_id}).one_or_none() is None:
        raise LostClaimError


_HOLD_ALL = text("SELECT id FROM dispatchers ORDER BY id FOR UPDATE")


def hold_all(db: Db) -> None:
    """Wait for running claims, and block new ones until the transaction ends."""
    if is_postgres(db):
        db.execute(_HOLD_ALL).all()


def beats(db: Db) -> dict[str, int]:
    """Return the heartbeat counter of each dispatcher."""
    return {row.id: row.beats for row in db.execute(select(Dispatcher.id, Dispatcher.beats))}


def departed(db: Db) -> list[str]:
    """List the dispatchers of this machine whose process is gone."""
    place = host()
    neighbours = db.execute(select(Dispatcher.id, Dispatcher.pid).where(Dispatcher.host == place))
    return [row.id for row in neighbours if place and not _is_running(row.pid)]


def remove(db: Db, dispatcher_ids: list[str]) -> None:
    """Remove dispatchers. Their claimed deliveries become orphans."""
    db.execute(delete(Dispatcher).where(Dispatcher.id.in_(dispatcher_ids)))


def _is_running(pid: int) -> bool:
    """Return whether a process exists. A reused process id counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
