"""The turn in which frozen recipients become deliveries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from service.config import Settings
from service.core.deliveries import chunks
from service.database import Database, now_ms


@dataclass(slots=True)
class FanOut:
    """Takes one chunk of one broadcast after the other, a transaction each, so that all get on."""

    settings: Settings
    database: Database
    on_ready: Callable[[], None]
    draining: bool = field(default=False, init=False)
    _cursor: str = field(default="", init=False)

    def turn(self) -> float:
        """Fan one chunk out; return the seconds until it is worth looking again."""
        broadcast_id = None if self.draining else self._next()
        if broadcast_id is None:
            return self.settings.poll_interval
        with self.database.writing_much() as db:
            made = chunks.fan_out(db, broadcast_id, now=now_ms())
        if not made:  # another process has it in hand
            return self.settings.poll_interval
        self.on_ready()
        return 0.0

    def _next(self) -> str | None:
        """Return the broadcast with chunks left that comes after the last one served."""
        with self.database.reading() as db:
            self._cursor = chunks.waiting(db, self._cursor) or chunks.waiting(db, "") or ""
        return self._cursor or None
