"""Holds that this process knows before they are committed.

A hold takes effect in all processes when it is committed. Until then, this process must not send
the deliveries that it has already claimed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

from service.core.decisions import Hold
from service.database import now_ms
from service.models import FOREVER

_AFTER_COMMIT = 5_000
"""Milliseconds for which a hold is remembered here once the database has it. A claim that ran
beside that commit is here by then."""


class _Held(NamedTuple):
    """Until when a hold lasts here, and the last moment of the claims that it applies to."""

    until: int
    claimed_until: int = FOREVER


class LocalHolds:
    """The sessions and broadcasts that this process holds; `held` is empty if there are none.

    Once a hold is committed, it applies to older claims only: the database decides about the
    others, so that a session that is released is used at once.
    """

    def __init__(self) -> None:
        self.held: dict[str, _Held] = {}
        self._ends_at = FOREVER
        self._lock = threading.Lock()

    def add(self, hold: Hold) -> None:
        """Hold all claims of a session or a broadcast until the hold ends or is committed."""
        until = FOREVER if hold.until is None else hold.until
        with self._lock:
            for name in _names(hold):
                before = self.held.get(name)
                self.held[name] = _Held(max(before.until, until) if before else until)
            self._forget_ended()

    def committed(self, holds: Iterable[Hold]) -> None:
        """Limit committed holds to earlier claims: the database now applies them to later ones."""
        now = now_ms()
        with self._lock:
            for name in (name for hold in holds for name in _names(hold) if name in self.held):
                self.held[name] = _Held(min(self.held[name].until, now + _AFTER_COMMIT), now)
            self._forget_ended()

    def allow(self, session_id: str, broadcast_id: str, claimed_at: int) -> bool:
        """Return whether deliveries claimed at this time may be sent."""
        if not self.held:
            return True
        if self._ends_at <= (now := now_ms()):
            with self._lock:
                self._forget_ended()
        found = map(self.held.get, (session_id, broadcast_id))
        return not any(
            each and each.until > now and claimed_at <= each.claimed_until for each in found
        )

    def _forget_ended(self) -> None:
        """Forget the holds that have ended, so that there are never more than are in force."""
        if self.held:
            now = now_ms()
            for name in [name for name, each in self.held.items() if each.until <= now]:
                del self.held[name]
            self._ends_at = min((each.until for each in self.held.values()), default=FOREVER)


def _names(hold: Hold) -> list[str]:
    return [name for name in (hold.session_id, hold.broadcast_id) if name is not None]
