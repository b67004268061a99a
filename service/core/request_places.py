"""Request places: how many requests a process handles at a time, in all and for one client."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Final

from service.channels.places import Places

_RECENT: Final = 60.0
"""Seconds for which a client counts as one of those who make requests."""

_MOMENT: Final = 0.1
"""Seconds between an answer and the end of its thread's work, on a busy machine."""


class RequestPlaces:
    """The places of a process for requests: as many as the server has threads.

    A single active client may have all of them. While others make requests, too, it must leave a
    quarter of all places free, or gets half of what the others leave. So the next client always
    finds a thread.
    """

    def __init__(self) -> None:
        self._count = 0
        self._places = Places(0)
        self._seen: dict[str, float] = {}
        self._changed = threading.Condition()

    def limit_to(self, threads: int) -> None:
        """Set the number of places. Without it, or for fewer than four, there is no limit."""
        self._count, self._places = threads, Places(threads)

    @property
    def _spare(self) -> int:
        return self._count // 4

    def enter(self, client: str) -> bool:
        """Take a place if there is one for this client; return whether there was."""
        now = time.monotonic()
        with self._changed:
            self._note(client, now)
            take = partial(self._take, client, is_alone=len(self._seen) == 1)
            # A client may have got its last answer, and its place is given back at any moment.
            return take() or (
                self._places.taken(client) == 1 and self._changed.wait_for(take, _MOMENT)
            )

    def leave(self, client: str) -> None:
        """Give a place back."""
        with self._changed:
            self._places.give_back(client)
            self._changed.notify_all()

    def _take(self, owner: str, *, is_alone: bool) -> bool:
        has_room = self._count - len(self._places) > self._spare
        may_enter = is_alone or not self._spare or has_room or self._places.free(owner) > 0
        if may_enter:
            self._places.take(owner)
        return may_enter

    def _note(self, client: str, now: float) -> None:
        """Remember when a client made its last request, the oldest first."""
        self._seen.pop(client, None)
        self._seen[client] = now
        while (oldest := next(iter(self._seen))) and self._seen[oldest] < now - _RECENT:
            del self._seen[oldest]
