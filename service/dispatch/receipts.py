"""The turn in which the providers' later word is applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from service.config import Settings
from service.core import receipts
from service.database import Database, now_ms

log = structlog.get_logger(__name__)

_BATCH = 500


@dataclass(slots=True)
class Receipts:
    """Applies receipts, many in a transaction; those that tell of nothing of ours are counted."""

    settings: Settings
    database: Database
    on_ready: Callable[[], None]

    def turn(self) -> float:
        """Apply what is due; return the seconds until it is worth looking again."""
        now = now_ms()
        with self.database.reading() as db:
            if not receipts.are_due(db, now=now):
                return self.settings.poll_interval
        with self.database.writing() as db:
            result = receipts.apply(db, _BATCH, now=now)
        if result.unknown:
            log.warning("receipts of nothing of ours were dropped", count=result.unknown)
        if result.applied:
            self.on_ready()
        return 0.0 if sum(result) == _BATCH else self.settings.poll_interval
