"""Claimed deliveries on their way to a sender thread."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from service.core.deliveries.claims import Claimed
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

    def goes_with(self, other: Work) -> bool:
        """Tell whether both may be sent at once: all is alike but for the recipient."""
        return (
            self.campaign is other.campaign
            and self.claim_id == other.claim_id
            and self.delivery.message_ids is other.delivery.message_ids is None
            and not (self.moment or other.moment)
        )


class Stock:
    """The deliveries this process has claimed and not yet begun; those with a slot wait for it."""

    def __init__(self, threads: int, most: int) -> None:
        self._threads = threads
        self._most = most
        self._ready: deque[Work] = deque()
        self._waiting: list[tuple[int, int, Work]] = []
        self._numbers = itertools.count()
        self._some = threading.Condition(threading.Lock())
        self._target = min(most, threads)
        self.is_closed = False
        self.credit = Credit(threads)
        self.pacer = Loop("pacer", self._turn)
        self.on_low: Callable[[], None] = lambda: None

    def learn(self, rate: float) -> None:
        """Be told how many deliveries a second this process sends at present."""
        self._target = min(self._most, max(self._threads, int(rate * _SECONDS_OF_WORK)))

    def room(self) -> int:
        """Return how many more deliveries to claim; 0 while half of the target is still there."""
        present = len(self._ready)
        return self._target - present if present <= self._target // 2 else 0

    def waits(self) -> bool:
        """Tell whether there is work that could be begun now."""
        return bool(self._ready)

    def add(self, works: list[Work]) -> None:
        """Take claimed deliveries in."""
        paced = [work for work in works if work.moment]
        with self._some:
            self._ready.extend(work for work in works if not work.moment)
            self._some.notify(len(works) - len(paced))
            for work in paced:
                heapq.heappush(self._waiting, (work.moment, next(self._numbers), work))
        if paced:
            self.pacer.wake()

    def take(self, most: int = 1) -> list[Work]:
        """Wait for the next delivery to send; empty: there will be no more.

        Up to `most` are taken where they go together.
        """
        with self._some:
            while not self._ready and not self.is_closed:
                self._some.wait()
            works = [self._ready.popleft()] if self._ready else []
            if works and most > 1 and works[0].campaign.may_send_many():
                while len(works) < most and self._ready and self._ready[0].goes_with(works[0]):
                    works.append(self._ready.popleft())
        if len(self._ready) <= self._target // 4:
            self.on_low()
        return works

    def close(self) -> list[Work]:
        """Let every sender thread come to its end; return what none of them has begun."""
        with self._some:
            self.is_closed = True
            left = [*self._ready, *(work for _, _, work in self._waiting)]
            self._ready.clear()
            self._waiting.clear()
            self._some.notify_all()
        return left

    def _turn(self) -> float:
        """Hand out what is due, ahead of all that may wait; return the seconds to the next look.

        A second at most: the wall clock may be set.
        """
        now = time.time_ns() // 1000
        with self._some:
            due = []
            while self._waiting and self._waiting[0][0] <= now:
                due.append(heapq.heappop(self._waiting)[2])
            self._ready.extendleft(reversed(due))
            self._some.notify(len(due))
            return min(1.0, (self._waiting[0][0] - now) / 1e6) if self._waiting else 1.0
