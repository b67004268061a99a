"""Which sessions may occupy this process: all of them, until one's provider does not answer.

All sessions share the sender threads. One whose provider keeps them waiting would have every other
session wait with it.
"""

from __future__ import annotations

import threading
import time

PATIENCE = 1.0
"""Seconds without an answer after which a session is doubted; providers take a tenth of that."""

_PROBATION = 16
"""One of so many threads is left to a session that is doubted, but at least one."""


class Credit:
    """The threads that wait for providers now, and the sessions that are doubted.

    A session is doubted when a send of it takes too long; the next message that goes through ends
    it. What is asked for every message takes no lock: each thread writes its own entry, and a look
    that comes a moment too late does no harm.
    """

    def __init__(self, threads: int) -> None:
        self._least = max(1, threads // _PROBATION)
        self._waiting: dict[int, tuple[str, float]] = {}
        self._doubted: set[str] = set()

    def free(self, session_id: str) -> int | None:
        """Return how many more deliveries of a session may begin; None: as many as one likes."""
        if session_id not in self._doubted:
            return None
        waiting = sum(each == session_id for each, _ in list(self._waiting.values()))
        return max(0, self._least - waiting)

    def ask(self, session_id: str) -> None:
        """Note that this thread waits for the session's provider from now on."""
        self._waiting[threading.get_ident()] = session_id, time.monotonic()

    def answered(self, session_id: str) -> None:
        """Note that the provider took what this thread had for it."""
        self._waiting.pop(threading.get_ident(), None)
        if self._doubted:
            self._doubted.discard(session_id)

    def refused(self) -> None:
        """Note that this thread waits no longer, for nothing."""
        session_id, asked_at = self._waiting.pop(threading.get_ident(), ("", 0.0))
        if session_id and time.monotonic() - asked_at >= PATIENCE:
            self._doubted.add(session_id)

    def look(self) -> int:
        """Doubt the sessions that keep a thread waiting for too long; return how many threads."""
        before = time.monotonic() - PATIENCE
        late = [each for each, asked_at in list(self._waiting.values()) if asked_at <= before]
        self._doubted.update(late)
        return len(late)
