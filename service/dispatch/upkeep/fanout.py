"""The fan-out: turns frozen recipients into deliveries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from service.config import Settings
from service.core.deliveries import chunks
from service.database import Database, now_ms


@dataclass(slots=True)
class FanOut:
    """Fans out chunks, each in its own transaction.

    Clients take turns, and so do the sessions of a client and the broadcasts of a session.
    """

    settings: Settings
    database: Database
    on_ready: Callable[[], None]
    draining: bool = field(default=False, init=False)
    _client_id: str = field(default="", init=False)
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
            place = chunks.following(db, self._client_id, self._lasts)
        if place is None:
            self._lasts.clear()
            return None
        self._client_id = place.client_id
        self._lasts |= {place.client_id: place.session_id, place.session_id: place.broadcast_id}
        return place.broadcast_id
