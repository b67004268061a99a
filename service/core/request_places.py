"""The requests that a process works on at a time, and how many of them may be of one client."""

from __future__ import annotations

import threading
import time
from typing import Final

from service.channels.places import Places

_RECENT: Final = 60.0
"""Seconds for which a client counts as one of those who make requests."""


class RequestPlaces:
    """The places of a process for requests: as many as the server has threads.

    A client alone may have all of them. While others make requests, too, it leaves a quarter of all
    places free, or has half of what the others leave. So whoever comes next finds a thread.
    """

    def __init__(self) -> None:
        self._count = 0
        self._places = Places(0)
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def limit_to(self, threads: int) -> None:
        """Give out so many places; there is no limit before."""
        self._count, self._places = threads, Places(threads)

    def enter(self, client: str) -> bool:
        """Take a place if there is one for this client; return whether there was."""
        now = time.monotonic()
        with self._lock:
            self._note(client, now)
            if may_enter := self._may_enter(client):
                self._places.take(client)
        return may_enter

    def leave(self, client: str) -> None:
        """Give a place back."""
        with self._lock:
            self._places.give_back(client)

    def _may_enter(self, client: str) -> bool:
        if not self._count or len(self._seen) == 1:
            return True
        has_room = self._count - len(self._places) > self._count // 4
        return has_room or self._places.free(client) > 0

    def _note(self, client: str, now: float) -> None:
        """Remember when a client made its last request, the oldest first."""
        self._seen.pop(client, None)
        self._seen[client] = now
        while (oldest := next(iter(self._seen))) and self._seen[oldest] < now - _RECENT:
            del self._seen[oldest]
