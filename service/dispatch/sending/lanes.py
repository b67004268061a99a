"""Lanes: the claimed deliveries of each session, from which senders take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from service.core.deliveries.claims import Claimed
from service.database import now_ms
from service.dispatch.sending import pacing
from service.dispatch.sending.limits import Client, Limit
from service.dispatch.sending.prepared import PreparedBroadcast

WEIGHT = 0.3
"""Weight of the newest measurement in an average."""

_MEASURED = 0.1
"""Minimum seconds over which a lane's rate is measured."""


@dataclass(slots=True, eq=False)
class Work:
    """A claimed delivery with everything needed to send it.

    `moment` is its slot under the session's rate, in microseconds of Unix time; 0: at once.
    `interval` separates its parts, in microseconds. `until` is when it may no longer begin, in
    milliseconds; 0: it may at any time. `began_at` is a monotonic time.
    """

    delivery: Claimed
    broadcast: PreparedBroadcast
    claim_id: str
    moment: int = 0
    interval: int = 0
    until: int = 0
    began_at: float = 0.0

    def is_over(self) -> bool:
        """Return whether it may no longer begin."""
        return bool(self.until) and now_ms() >= self.until

    def is_late(self, now: int) -> bool:
        """Return whether its slot has passed: sending late deliveries would cause a burst."""
        return bool(self.moment) and now > self.moment + pacing.LATE


@dataclass(slots=True)
class Lane:
    """The claimed deliveries of one session. Those in `due` have a slot now and go first."""

    client_id: str
    limit: Limit
    measured_at: float
    due: deque[Work] = field(default_factory=deque)
    ready: deque[Work] = field(default_factory=deque)
    waiting: int = 0
    taken: int = 0
    rate: float = 0.0

    def __len__(self) -> int:
        return len(self.due) + len(self.ready) + self.waiting

    @property
    def client(self) -> Client:
        """Return the messages that the lane's client has under way."""
        return self.limit.client

    def take_due(self, most: int, now: int, mono: float) -> list[Work]:
        """Take deliveries that have a place, and all late ones, which the sender releases."""
        free = min(most, self.limit.free(mono))
        works: list[Work] = []
        while self.due and (len(works) < free or self.due[0].is_late(now)):
            works.append(self.due.popleft())
        return works

    def take_ready(self, most: int, mono: float) -> list[Work]:
        """Take up to `most` deliveries, if there are places."""
        count = min(most, self.limit.free(mono), len(self.ready))
        return [self.ready.popleft() for _ in range(count)]

    def measure(self, now: float) -> None:
        """Measure how many deliveries per second leave this lane."""
        seconds = now - self.measured_at
        if seconds >= _MEASURED:
            self.rate += WEIGHT * (self.taken / seconds - self.rate)
            self.taken, self.measured_at = 0, now
