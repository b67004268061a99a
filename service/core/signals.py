"""A word from the process that accepts to those that dispatch, where the database carries it.

Postgres does (LISTEN and NOTIFY); elsewhere, and whenever a word is lost, they look for
themselves every `POLL_INTERVAL`. The workers of the engine `procrastinate` are left jobs besides.
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
    """Say that there is work, with these broadcasts if any, when this transaction commits.

    Once a broadcast and never once a delivery: a commit that notifies holds a lock that all
    others of its kind wait for.
    """
    if db.get_bind().dialect.name == "postgresql":
        db.execute(_NOTIFY)
        if lanes := db.info.get(LANES):
            for broadcast in broadcasts:
                jobs.defer(db, jobs.for_broadcast(broadcast, lanes))
