"""Signals: tell dispatchers at once about new work, and about claims that are revoked.

A signal goes out when its transaction commits: through Postgres (NOTIFY), and into the named pipes
of dispatchers of this machine that cannot listen to Postgres, as on SQLite and behind a pooler. A
lost signal costs time alone: dispatchers look for work every `POLL_INTERVAL`. For the engine
`procrastinate`, a signal also defers jobs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.core import jobs
from service.database import LANES, is_postgres
from service.models import Broadcast

CHANNEL: Final = "crier_work"

_GIVEN: Final = "crier_signals"
"""The key in a session's `info` for the signals of its transaction."""


class Signal(StrEnum):
    """What a dispatcher is told. The value is one byte in a named pipe."""

    WORK = "w"
    REVOKED = "r"


_NOTIFY: Final = {signal: text(f"NOTIFY {CHANNEL}, '{signal}'") for signal in Signal}


def announce(db: Db, *broadcasts: Broadcast) -> None:
    """Signal that there is work, with these broadcasts if any, when this transaction commits.

    Call it per broadcast, never per delivery: a commit with NOTIFY holds a lock that all other
    such commits wait for.
    """
    _give(db, Signal.WORK)
    if is_postgres(db) and (lanes := db.info.get(LANES)):
        for broadcast in broadcasts:
            jobs.defer(db, jobs.for_broadcast(broadcast, lanes))


def announce_revoked(db: Db) -> None:
    """Signal that claims are revoked, when this transaction commits."""
    _give(db, Signal.REVOKED)


def listeners(folder: Path) -> dict[str, Callable[..., None]]:
    """Return what listens to all writing sessions, by SQLAlchemy's names of events.

    `folder` has the named pipes of this machine's dispatchers.
    """
    return {"after_commit": partial(_send, folder)}


def _give(db: Db, signal: Signal) -> None:
    db.info.setdefault(_GIVEN, set()).add(signal)
    if is_postgres(db):
        db.execute(_NOTIFY[signal])


def _send(folder: Path, db: Db) -> None:
    """Write the signals of a transaction into all pipes."""
    if given := "".join(db.info.pop(_GIVEN, ())):
        with suppress(FileNotFoundError):
            for pipe in os.scandir(folder):
                _write(pipe.path, given.encode())


def _write(pipe: str, signals: bytes) -> None:
    """Write into a pipe. Nobody may be reading it any more, or not fast enough: it has enough."""
    with suppress(OSError):
        number = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(number, signals)
        finally:
            os.close(number)
