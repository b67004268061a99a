"""How many of the sender threads work: no more than the interpreter can serve.

Python runs one thread at a time. A provider that answers after 50 ms keeps hundreds of threads
apart; behind one that answers at once they all wait for the interpreter instead of the network,
and every turn costs more the more of them wait: sixteen threads sent half of what four did. The
fewer work, the more messages each has under way, where its driver can: together as many as ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LEAST = 2
"""Threads that always work: while one waits for its answers, the other reads its own."""

_BUSY = 0.85
"""Part of one processor's time, used by this process, from which on fewer threads are tried."""

_FREE = 0.2
"""The same, up to which more are, where work waits for a thread. Between both it stays: a process
that shares its processor with others gets no more of it by having more threads."""


class Crew:
    """The threads numbered from 0 to `size` - 1, of which the first `working` may work."""

    def __init__(
        self,
        size: int,
        *,
        used: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let few work; `used` returns the seconds of processor time that were used by now."""
        self._size = size
        self._least = self.working = min(LEAST, size)
        self._used, self._clock = used, clock
        self._last = used(), clock()
        self._changed = threading.Condition()

    def adjust(self, *, waits: bool) -> None:
        """Let more or fewer work, by what was used of the processor since the last time.

        `waits`: there is work that no thread has taken yet.
        """
        (used_before, before), self._last = self._last, (self._used(), self._clock())
        used, now = self._last
        busy = (used - used_before) / max(now - before, 1e-3)
        if busy > _BUSY:
            self._let_work(max(self._least, self.working // 2))
        elif busy < _FREE and waits:
            self._let_work(min(self._size, 2 * self.working))

    @property
    def share(self) -> int:
        """Return how many messages each may have under way: together as many as all would."""
        return self._size // self.working

    def wait(self, number: int) -> None:
        """Wait until the thread of this number may work."""
        if number >= self.working:
            with self._changed:
                self._changed.wait_for(lambda: number < self.working)

    def release(self) -> None:
        """Let all work, as there is an end to come to."""
        self._let_work(self._size)

    def _let_work(self, number: int) -> None:
        if number != self.working:
            with self._changed:
                self.working = number
                self._changed.notify_all()
