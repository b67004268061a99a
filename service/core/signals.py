"""Signals: tell dispatchers about new work, through Postgres (LISTEN and NOTIFY).

On SQLite, or if a signal is lost, dispatchers find work by polling every `POLL_INTERVAL`. For the
engine `procrastinate`, a signal also defers jobs.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.core import jobs
from service.database import LANES
from service.models import Broadcast

CHANNEL = "crier_work"

_NOTIFY = text(f"NOTIFY {CHANNEL}")


def announce(db: Db, *broadcasts: Broadcast) -> None:
    """Signal that there is work, with these broadcasts if any, when this transaction commits.

    Call it per broadcast, never per delivery: a commit with NOTIFY holds a lock that all other
    such commits wait for.
    """
    if db.get_bind().dialect.name == "postgresql":
        db.execute(_NOTIFY)
        if lanes := db.info.get(LANES):
            for broadcast in broadcasts:
                jobs.defer(db, jobs.for_broadcast(broadcast, lanes))
