"""The fan-out: turns frozen recipients into deliveries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from service.config import Settings
from service.core.deliveries import chunks
from service.database import Database, now_ms


@dataclass(slots=True)
class FanOut:
    """Fans out one chunk per broadcast in turn, each in its own transaction."""

    settings: Settings
    database: Database
    on_ready: Callable[[], None]
    draining: bool = field(default=False, init=False)
    _cursor: str = field(default="", init=False)

    def turn(self) -> float:
        """Fan out one chunk; return the seconds until the next turn."""
        broadcast_id = None if self.draining else self._next()
        if broadcast_id is None:
            return self.settings.poll_interval
        with self.database.writing_much() as db:
            made = chunks.fan_out(db, broadcast_id, now=now_ms())
        if not made:  # another process is doing it
            return self.settings.poll_interval
        self.on_ready()
        return 0.0

    def _next(self) -> str | None:
        """Return the next broadcast with chunks, after the last one."""
        with self.database.reading() as db:
            self._cursor = chunks.waiting(db, self._cursor) or chunks.waiting(db, "") or ""
        return self._cursor or None
