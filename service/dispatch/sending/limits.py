"""How many messages may be under way, of each session and in all.

One rule shares the room of a process. A session begins with a small share and gets a place more
with each answer, up to its concurrency. Throttling and time-outs halve it. A message that waits too
long is late, and does not count against other sessions any more. A session of which half is late is
silent: it keeps its small share, or less where many are silent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PATIENCE: Final = 2.0
"""Seconds without an answer after which a message is late, unless its session is known as slow."""

_SLOWNESS: Final = 3.0
"""A message is not late before so many times what its session's answers take at present."""

_SHARES: Final = 64
"""A session's small share is this part of the room."""

_LEAST: Final = 8
"""Places of a small share, at least; a smaller room is one share."""

_RESTS: Final = 4.0
"""Seconds without a message after which a session begins anew: its connections are closed then."""

_WEIGHT: Final = 0.1
"""How much the newest answer counts in the average of what answers take."""


_FAST: Final = 0.02
"""Seconds up to which a provider is fast: more under way would only wait for this machine."""

_ENOUGH: Final = 32
"""Places that a fast provider always has."""

_WINDOW: Final = 5.0
"""Seconds after which the fastest answer is looked for anew."""


class Response(StrEnum):
    """What a provider's way of ending a message says about its session's limit."""

    ANSWER = "the provider keeps up: room for one more"
    TROUBLE = "throttled, or no answer: half of it"
    NOTHING = "the message was not sent"


@dataclass(slots=True)
class _Fastest:
    """The fastest answer of the last seconds, between one and two windows."""

    seconds: float = math.inf
    _next: float = math.inf
    _until: float = 0.0

    def note(self, seconds: float, now: float) -> None:
        """Take note of what an answer took."""
        if now > self._until:
            self.seconds, self._next, self._until = self._next, seconds, now + _WINDOW
        self._next = min(self._next, seconds)
        self.seconds = min(self.seconds, seconds)


@dataclass(slots=True)
class Limit:
    """The concurrency of one session in this process; moments are of the monotonic clock.

    `peak` is the most that was under way of late: what is not used does not grow.
    """

    share: int
    most: int
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
        """Begin with the small share."""
        self.allowed = min(self.share, self.most)

    @property
    def is_silent(self) -> bool:
        """Tell whether the session does not answer: half of what it has under way is late."""
        return bool(self.late) and 2 * self.late >= self.under_way

    def free(self, now: float) -> int:
        """Return how many more messages may begin."""
        if not self.under_way and now > self.ended_at + _RESTS:
            self.allowed = min(self.share, self.most)
        return int(self.allowed) - self.under_way

    def began(self, messages: int) -> None:
        """Take note of messages that begin."""
        self.under_way += messages
        self.peak = max(self.peak, self.under_way)

    def ended(self, response: Response, began: Sequence[float], now: float) -> None:
        """Take note of how messages ended together that began at some moments."""
        self.under_way -= len(began)
        self.ended_at = now
        if response is Response.ANSWER:
            self._answered(began, now)
        elif response is Response.TROUBLE:
            self.answers = False
            if max(began) > self._halved_at:  # once for all that was under way together
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
        """Tell whether answers get slower by how many are under way, not by their provider."""
        fastest = self._fastest.seconds
        return fastest < _FAST and self.latency > 2 * fastest + 0.001

    def be_late(self, messages: int) -> None:
        """Take note of how many messages wait too long for their answers, again and again."""
        self.late = messages
        self.peak = self.under_way

    def shrink(self, most: int) -> None:
        """Allow so many at most, until there are answers again."""
        self.allowed = min(self.allowed, most)

    def count_late(self, began: Sequence[float], now: float) -> int:
        """Return how many messages wait too long, by the moments they began."""
        before = now - max(PATIENCE, _SLOWNESS * self.latency)
        return sum(moment < before for moment in began)


class Limits:
    """The limits of the sessions that this process sends for; `room` is for all of them together.

    Not locked: the queue that asks is.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._share = max(room // _SHARES, min(room, _LEAST))
        self._limits: dict[str, Limit] = {}
        self._waits: dict[object, dict[str, int]] = {}
        self._late = 0
        self.under_way = 0

    def of(self, session_id: str, concurrency: int | None = None) -> Limit:
        """Return a session's limit; `concurrency` is the most that it may have under way."""
        most = min(concurrency or self._room, self._room)
        limit = self._limits.get(session_id)
        if limit is None:
            limit = self._limits[session_id] = Limit(self._share, most)
        if most != limit.most:
            limit.most = most
            limit.allowed = min(limit.allowed, most)
        return limit

    def began(self, limit: Limit, messages: int) -> None:
        """Take note of messages that begin."""
        limit.began(messages)
        self.under_way += messages

    def ended(
        self, session_id: str, response: Response, began: Sequence[float], now: float
    ) -> None:
        """Take note of messages of a session that ended together."""
        self.under_way -= len(began)
        self._limits[session_id].ended(response, began, now)

    def free(self) -> int:
        """Return how many more messages may begin, of whatever sessions.

        Late ones do not count, but never more than twice the room is under way.
        """
        return self._room + min(self._late, self._room) - self.under_way

    def note_waits(self, sender: object, began: Mapping[str, Sequence[float]], now: float) -> None:
        """See which of a sender's messages wait too long, by session and the moments they began."""
        self._waits[sender] = {
            session_id: self._limits[session_id].count_late(moments, now)
            for session_id, moments in began.items()
        }
        late: Counter[str] = Counter()
        for waits in self._waits.values():
            late.update(waits)
        self._late = late.total()
        for session_id, limit in self._limits.items():
            limit.be_late(late[session_id])
        silent = [limit for limit in self._limits.values() if limit.is_silent]
        for limit in silent:
            # Together they get half of the room at most: all others live on the rest.
            limit.shrink(max(1, min(self._share, self._room // (2 * len(silent)))))

    def forget(self, session_id: str) -> None:
        """Drop the limit of a session that has nothing under way."""
        del self._limits[session_id]
