"""The concurrency limiter of a session: how many of its messages may be under way.

A session starts with a small share of the room and gains one place with each answer, up to its
concurrency. Throttling and time-outs halve its limit. A message that waits too long is late and no
longer counts against other sessions. A session is silent when half of its messages are late. It
then keeps only its small share, or less if many sessions are silent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PATIENCE: Final = 2.0
"""Seconds without an answer after which a message is late, unless its session is usually slow."""

_SLOWNESS: Final = 3.0
"""A message is late only after this many times the session's current answer time."""

_RESTS: Final = 4.0
"""Seconds without a message after which a session starts over: its connections are closed then."""

_WEIGHT: Final = 0.1
"""Weight of the newest answer in the average answer time."""


_FAST: Final = 0.02
"""Answer time in seconds of a fast provider. More messages would only wait for this machine."""

_ENOUGH: Final = 32
"""Places that a fast provider always has."""

_WINDOW: Final = 5.0
"""Seconds after which the fastest answer is measured again."""


class Response(StrEnum):
    """How the end of a message changes its session's limit."""

    ANSWER = "the provider keeps up: one place more"
    TROUBLE = "throttled, or no answer: half the limit"
    NOTHING = "the message was not sent"


@dataclass(slots=True)
class _Fastest:
    """The fastest answer of the last seconds, between one and two windows."""

    seconds: float = math.inf
    _next: float = math.inf
    _until: float = 0.0

    def note(self, seconds: float, now: float) -> None:
        """Record how long an answer took."""
        if now > self._until:
            self.seconds, self._next, self._until = self._next, seconds, now + _WINDOW
        self._next = min(self._next, seconds)
        self.seconds = min(self.seconds, seconds)


@dataclass(slots=True, eq=False)
class Client:
    """The messages that a client has under way in this process, and how many of them are late."""

    under_way: int = 0
    late: int = 0

    @property
    def counted(self) -> int:
        """Return how many messages count against other clients."""
        return self.under_way - self.late


@dataclass(slots=True)
class Limit:
    """The concurrency of one session in this process. Times are from the monotonic clock.

    `peak` is the most messages under way recently: an unused limit does not grow.
    """

    share: int
    most: int
    client: Client = field(default_factory=Client)
    under_way: int = 0
    peak: int = 0
    late: int = 0
    answers: bool = False
    latency: float = 0.0
    allowed: float = field(init=False)
    ended_at: float = 0.0
    _halved_at: float = 0.0
    _fastest: _Fastest = field(default_factory=_Fastest)

    def __post_init__(self) -> None:
        """Start with the small share."""
        self.allowed = min(self.share, self.most)

    @property
    def is_silent(self) -> bool:
        """Return whether the session is silent: half of its messages under way are late."""
        return bool(self.late) and 2 * self.late >= self.under_way

    def free(self, now: float) -> int:
        """Return how many more messages may begin."""
        if not self.under_way and now > self.ended_at + _RESTS:
            self.allowed = min(self.share, self.most)
        return int(self.allowed) - self.under_way

    def began(self, messages: int) -> None:
        """Record that messages begin."""
        self.under_way += messages
        self.peak = max(self.peak, self.under_way)

    def ended(self, response: Response, began: Sequence[float], now: float) -> None:
        """Record messages that ended together, with the times at which they began."""
        self.under_way -= len(began)
        self.ended_at = now
        if response is Response.ANSWER:
            self._answered(began, now)
        elif response is Response.TROUBLE:
            self.answers = False
            if max(began) > self._halved_at:  # once for all messages that were under way together
                self.allowed = max(1.0, self.allowed / 2)
                self._halved_at = now

    def _answered(self, began: Sequence[float], now: float) -> None:
        self.answers = True
        count, last = len(began), now - max(began)
        newest = 1 - (1 - _WEIGHT) ** count
        self.latency += newest * (now - sum(began) / count - self.latency)
        self._fastest.note(last, now)
        if self._waits_for_us():
            self.allowed = max(min(self.allowed, _ENOUGH), self.allowed - count)
        elif 2 * self.peak >= self.allowed and not self.is_silent:
            self.allowed = min(self.most, self.allowed + count)

    def _waits_for_us(self) -> bool:
        """Return whether answers are slow because of our own concurrency, not the provider."""
        fastest = self._fastest.seconds
        return fastest < _FAST and self.latency > 2 * fastest + 0.001

    def be_late(self, messages: int) -> None:
        """Record how many messages are late now; called repeatedly."""
        self.late = messages
        self.peak = self.under_way

    def shrink(self, most: int) -> None:
        """Allow at most this many until answers arrive again."""
        self.allowed = min(self.allowed, most)

    def count_late(self, began: Sequence[float], now: float) -> int:
        """Return how many messages are late, given the times at which they began."""
        before = now - max(PATIENCE, _SLOWNESS * self.latency)
        return sum(moment < before for moment in began)
