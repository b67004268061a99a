"""Holds that this process knows before they are committed.

A hold takes effect in all processes when it is committed. Until then, this process must not send
the deliveries that it has already claimed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from service.core.decisions import Hold
from service.database import now_ms
from service.models import FOREVER

_AFTER_COMMIT = 5_000
"""Milliseconds for which a hold lasts here once the database has it. A claim that ran beside that
commit is here by then."""


class LocalHolds:
    """The sessions and broadcasts that this process holds; `held` is empty if there are none."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self._ends_at = FOREVER
        self._lock = threading.Lock()

    def add(self, hold: Hold) -> None:
        """Hold a session or a broadcast until the hold ends, or some time after its commit."""
        until = FOREVER if hold.until is None else hold.until
        with self._lock:
            for name in _names(hold):
                self.held[name] = max(self.held.get(name, 0), until)
            self._forget_ended()

    def committed(self, holds: Iterable[Hold]) -> None:
        """Leave holds to the database, which has them now."""
        until = now_ms() + _AFTER_COMMIT
        with self._lock:
            for name in (name for hold in holds for name in _names(hold) if name in self.held):
                self.held[name] = min(self.held[name], until)
            self._forget_ended()

    def allow(self, session_id: str, broadcast_id: str) -> bool:
        """Return whether neither the session nor the broadcast is held."""
        if not self.held:
            return True
        if self._ends_at <= (now := now_ms()):
            with self._lock:
                self._forget_ended()
        return not any(self.held.get(name, 0) > now for name in (session_id, broadcast_id))

    def _forget_ended(self) -> None:
        """Forget the holds that have ended, so that there are never more than are in force."""
        if self.held:
            now = now_ms()
            for name in [name for name, until in self.held.items() if until <= now]:
                del self.held[name]
            self._ends_at = min(self.held.values(), default=FOREVER)


def _names(hold: Hold) -> list[str]:
    return [name for name in (hold.session_id, hold.broadcast_id) if name is not None]
