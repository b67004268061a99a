"""Holds that this process knows before they are committed.

A hold takes effect in all processes when it is committed. Until then, this process must not send
the deliveries that it has already claimed.
"""

from __future__ import annotations

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

    def add(self, hold: Hold) -> None:
        """Hold a session or a broadcast until the hold ends, or some time after its commit."""
        until = FOREVER if hold.until is None else hold.until
        for name in _names(hold):
            self.held[name] = max(self.held.get(name, 0), until)

    def committed(self, holds: Iterable[Hold]) -> None:
        """Leave holds to the database, which has them now."""
        until = now_ms() + _AFTER_COMMIT
        for name in (name for hold in holds for name in _names(hold) if name in self.held):
            self.held[name] = min(self.held.get(name, 0), until)

    def allow(self, session_id: str, broadcast_id: str) -> bool:
        """Return whether neither the session nor the broadcast is held."""
        return not self.held or (self._is_over(session_id) and self._is_over(broadcast_id))

    def _is_over(self, name: str) -> bool:
        until = self.held.get(name, 0)
        if until and until <= now_ms():
            self.held.pop(name, None)
        return until <= now_ms()


def _names(hold: Hold) -> list[str]:
    return [name for name in (hold.session_id, hold.broadcast_id) if name is not None]
