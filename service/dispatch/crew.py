"""How many of the sender threads work: no more than the interpreter can serve.

Python runs one thread at a time. A provider that answers after 50 ms keeps hundreds of threads
apart; behind one that answers at once they all wait for the interpreter instead of the network,
and every turn costs more the more of them wait: sixteen threads sent half of what four did. There,
few work, and each has several messages under way where its driver can: together as many as ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

LEAST = 2
"""Threads that always work: while one waits for its answer, the other reads its own."""

ALONE = 1
"""The same where each has several messages under way: there is always an answer to read."""

FIRST = 4
"""Threads that work until more is known."""

FAST = 0.005
"""Seconds up to which a call is one of a provider that answers at once."""


_ENOUGH = 100
"""Calls from which is seen how fast a provider is."""


class _Use(NamedTuple):
    """Parts of one processor's time, used by this process.

    Below `low` twice as many threads are tried where work waits, above `high` half as many. Between
    both it stays: a process that shares its processor with others gets no more of it by having more
    threads. The one is less than half of the other, or it would go to and fro.
    """

    low: float
    high: float


_BEHIND_SLOW = _Use(0.42, 0.85)
_BEHIND_FAST = _Use(0.2, 0.42)


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
        self.working = min(FIRST, size)
        self._used, self._clock = used, clock
        self._last = used(), clock()
        self._calls, self._messages, self._seconds = 0, 0, 0.0
        self._is_fast = False
        self._least = LEAST
        self._changed = threading.Condition()

    @property
    def share(self) -> int:
        """Return how many messages each may have under way: together as many as all would.

        One alone where answers take time: who has several waits for the last of them.
        """
        return self._size // self.working if self._is_fast else 1

    def called(self, messages: int, seconds: float) -> None:
        """Take note of how long a provider took for messages; a note that is lost does no harm."""
        self._calls += 1
        self._messages += messages
        self._seconds += seconds
        if self._calls >= _ENOUGH:
            self._judge()

    def adjust(self, *, waits: bool) -> None:
        """Let more or fewer work, by what was used of the processor since the last time.

        `waits`: there is work that no thread has taken yet.
        """
        (used_before, before), self._last = self._last, (self._used(), self._clock())
        used, now = self._last
        busy = (used - used_before) / max(now - before, 1e-3)
        self._judge()
        low, high = _BEHIND_FAST if self._is_fast else _BEHIND_SLOW
        if busy > high:
            self._let_work(max(min(self._least, self.working), self.working // 2))
        elif busy < low and waits:
            self._let_work(min(self._size, 2 * self.working))

    def _judge(self) -> None:
        """See how fast the provider is, and whether messages go out together."""
        calls, messages, seconds = self._calls, self._messages, self._seconds
        self._calls, self._messages, self._seconds = 0, 0, 0.0
        if calls:
            self._is_fast = seconds < FAST * calls
            self._least = ALONE if messages > 2 * calls else LEAST

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
