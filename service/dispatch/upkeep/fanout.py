"""The fan-out: turns frozen recipients into deliveries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from service.config import Settings
from service.core.deliveries import chunks
from service.database import Database, now_ms
from service.dispatch.turns import Turns


@dataclass(slots=True)
class FanOut:
    """Fans out chunks, each in its own transaction.

    Clients take turns, and so do the sessions of a client and the broadcasts of a session.
    """

    settings: Settings
    database: Database
    on_ready: Callable[[], None]
    draining: bool = field(default=False, init=False)
    _turns: Turns = field(default_factory=Turns, init=False)
    _lasts: dict[str, str] = field(default_factory=dict, init=False)

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
        """Return the broadcast whose turn it is, if any has chunks."""
        with self.database.reading() as db:
            waiting = chunks.waiting(db, self._lasts)
        sessions = {each.session_id for each in waiting}
        self._lasts = {name: last for name, last in self._lasts.items() if name in sessions}
        for place in self._turns.choose(waiting, 1):
            self._lasts[place.session_id] = place.broadcast_id
            return place.broadcast_id
        return None
