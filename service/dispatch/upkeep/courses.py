"""The turn in which deliveries go on by other ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.channels.registry import Channels
from service.config import Settings
from service.core import signals
from service.core.deliveries import due_ways, looks
from service.database import Database, now_ms
from service.models import Broadcast

_BATCH = 500


@dataclass(slots=True)
class Courses:
    """Looks at the deliveries whose ways are due to be looked at, many in a transaction."""

    settings: Settings
    database: Database
    channels: Channels
    on_ready: Callable[[], None]

    def turn(self) -> float:
        """Check due deliveries; return the seconds until the next turn.

        If none are due, this is a query without a write: SQLite has one writer at a time.
        """
        with self.database.reading() as db:
            if not due_ways.is_any(db, now=now_ms()):
                return self.settings.poll_interval
        with self.database.writing() as db:
            looked = looks.look(db, _BATCH, self.channels, now=now_ms())
            if looked.entered:
                signals.announce(db, *(db.get_one(Broadcast, each) for each in looked.entered))
        if looked.entered:
            self.on_ready()
        return 0.0 if looked.is_full else self.settings.poll_interval
