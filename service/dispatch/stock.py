"""Claimed deliveries on their way to a sender thread."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple

from service.core.claims import Claimed
from service.dispatch.campaigns import Campaign
from service.dispatch.credit import Credit
from service.dispatch.loop import Loop

_SECONDS_OF_WORK = 0.25
"""How much work is claimed ahead: enough to never run dry, little to leave behind in a crash."""


class Work(NamedTuple):
    """A claimed delivery with all that is needed to send it.

    `moment` in microseconds of Unix time is its slot under the session's rate, 0 for at once;
    `interval` in microseconds is kept between its parts.
    """

    delivery: Claimed
    campaign: Campaign
    claim_id: str
    moment: int = 0
    interval: int = 0


class Stock:
    """The deliveries this process has claimed and not yet begun; those with a slot wait for it."""

    def __init__(self, threads: int, most: int) -> None:
        self._threads = threads
        self._most = most
        self._ready: SimpleQueue[Work | None] = SimpleQueue()
        self._waiting: list[tuple[int, int, Work]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._target = min(most, threads)
        self.credit = Credit(threads)
        self.pacer = Loop("pacer", self._turn)
        self.on_low: Callable[[], None] = lambda: None

    def learn(self, rate: float) -> None:
        """Be told how many deliveries a second this process sends at present."""
        self._target = min(self._most, max(self._threads, int(rate * _SECONDS_OF_WORK)))

    def room(self) -> int:
        """Return how many more deliveries to claim; 0 while half of the target is still there."""
        present = self._ready.qsize()
        return self._target - present if present <= self._target // 2 else 0

    def waits(self) -> bool:
        """Tell whether there is work that could be begun now."""
        return self._ready.qsize() > 0

    def add(self, works: list[Work]) -> None:
        """Take claimed deliveries in."""
        paced = [work for work in works if work.moment]
        for work in works:
            if not work.moment:
                self._ready.put(work)
        if paced:
            with self._lock:
                for work in paced:
                    heapq.heappush(self._waiting, (work.moment, next(self._numbers), work))
            self.pacer.wake()

    def take(self) -> Work | None:
        """Wait for the next delivery to send; None: there will be no more."""
        work = self._ready.get()
        if work is None:
            self._ready.put(None)  # for whoever else waits
            return None
        if self._ready.qsize() <= self._target // 4:
            self.on_low()
        return work

    def close(self) -> list[Work]:
        """Let every sender thread come to its end; return what none of them has begun."""
        with self._lock:
            left = [work for _, _, work in self._waiting]
            self._waiting.clear()
        while True:
            try:
                work = self._ready.get_nowait()
            except Empty:
                break
            if work is not None:
                left.append(work)
        self._ready.put(None)
        return left

    def _turn(self) -> float:
        """Hand out what is due; return the seconds until the next is."""
        now = time.time_ns() // 1000
        with self._lock:
            while self._waiting and self._waiting[0][0] <= now:
                self._ready.put(heapq.heappop(self._waiting)[2])
            return (self._waiting[0][0] - now) / 1e6 if self._waiting else 1.0
