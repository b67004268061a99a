"""What this process learnt just now must not be sent: ahead of the database's word.

A hold takes effect for all processes when it is written; what lies claimed in this one's stock
must not go out meanwhile.
"""

from __future__ import annotations

from service.core.verdicts import Hold
from service.database import now_ms

_UNTIL_WRITTEN = 5_000
"""Milliseconds after which the database speaks for a hold that is not over by then."""


class Gate:
    """The sessions and broadcasts that are shut for now."""

    def __init__(self) -> None:
        self._shut: dict[str, int] = {}

    def shut(self, hold: Hold) -> None:
        """Let nothing of a session or a broadcast pass until the hold is over or known to all."""
        known = now_ms() + _UNTIL_WRITTEN
        until = known if hold.until is None else min(hold.until, known)
        for name in (hold.session_id, hold.broadcast_id):
            if name is not None:
                self._shut[name] = max(self._shut.get(name, 0), until)

    def is_open(self, session_id: str, broadcast_id: str) -> bool:
        """Tell whether a delivery may pass."""
        return not self._shut or (self._passes(session_id) and self._passes(broadcast_id))

    def _passes(self, name: str) -> bool:
        until = self._shut.get(name, 0)
        if until and until <= now_ms():
            self._shut.pop(name, None)
        return until <= now_ms()
