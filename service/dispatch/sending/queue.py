"""The queue of claimed deliveries: one lane per session, within the session's limit."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from service.core.deliveries.claims import Claimed
from service.dispatch.sending import pacing
from service.dispatch.sending.limits import Limit, Limits, Response
from service.dispatch.sending.prepared import PreparedBroadcast

_WEIGHT = 0.3
"""Weight of the newest measurement in an average."""

_MEASURED = 0.1
"""Minimum seconds over which a lane's rate is measured."""

_AHEAD = 0.1
"""Minimum seconds of sending to claim ahead: a small claim costs nearly as much as a large one."""

_KEPT = 60.0
"""Seconds to keep the limit of a session that sends nothing."""


@dataclass(slots=True, eq=False)
class Work:
    """A claimed delivery with everything needed to send it.

    `moment` is its slot under the session's rate, in microseconds of Unix time; 0: at once.
    `interval` separates its parts, in microseconds. `began_at` is a monotonic time.
    """

    delivery: Claimed
    broadcast: PreparedBroadcast
    claim_id: str
    moment: int = 0
    interval: int = 0
    began_at: float = 0.0

    def is_late(self, now: int) -> bool:
        """Return whether its slot has passed: sending late deliveries would cause a burst."""
        return bool(self.moment) and now > self.moment + pacing.LATE


Settled = Mapping[tuple[str, Response], Sequence[float]]
"""The start times of ended deliveries, by session and response."""


@dataclass(slots=True)
class _Lane:
    """The claimed deliveries of one session. Those in `due` have a slot now and go first."""

    limit: Limit
    due: deque[Work] = field(default_factory=deque)
    ready: deque[Work] = field(default_factory=deque)
    waiting: int = 0
    taken: int = 0
    rate: float = 0.0
    measured_at: float = field(default_factory=time.monotonic)

    def __len__(self) -> int:
        return len(self.due) + len(self.ready) + self.waiting

    def take_due(self, now: int, mono: float) -> list[Work]:
        """Take deliveries that have a place, and all late ones, which the sender releases."""
        free = self.limit.free(mono)
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
            self.rate += _WEIGHT * (self.taken / seconds - self.rate)
            self.taken, self.measured_at = 0, now


class ClaimedQueue:
    """The deliveries that this process has claimed and not begun.

    It claims ahead what a session sends in a tenth of a second, or in twice the time of a claim if
    that is longer. A session that answers and may have many under way gets at least `batch`. The
    queue never holds more than twice `batch`.
    """

    def __init__(self, room: int, batch: int) -> None:
        self._batch = batch
        self._most = 2 * batch
        self._limits = Limits(room)
        self._lanes: dict[str, _Lane] = {}
        self._active: dict[str, _Lane] = {}
        self._slots: list[tuple[int, int, Work]] = []
        self._served: list[_Lane] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._count = 0
        self._claim_seconds = 0.0
        self.is_closed = False
        self.on_low: Callable[[], None] = lambda: None
        self.on_work: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        """Return how many deliveries wait in the queue."""
        return self._count

    def room(self) -> int:
        """Return how many more deliveries may be claimed, over all sessions."""
        return min(self._batch, self._most - self._count)

    def wanted(self, session_id: str, concurrency: int | None = None) -> int:
        """Return how many more deliveries of a session to claim; 0 while its lane is half full."""
        with self._lock:
            lane = self._lane(session_id, concurrency)
            lane.measure(time.monotonic())
            target = self._target(lane)
            return target - len(lane) if len(lane) <= target // 2 else 0

    def note_claim(self, seconds: float) -> None:
        """Record how long a claim took."""
        self._claim_seconds += _WEIGHT * (seconds - self._claim_seconds)

    def add(self, works: list[Work]) -> None:
        """Add claimed deliveries."""
        with self._lock:
            self._put(works)
        self.on_work()

    def take(self, most: int) -> tuple[list[Work], float]:
        """Take up to `most` deliveries that may be sent now, and all whose slot is now.

        Also return the seconds until the next slot, or infinity if there is none.
        """
        with self._lock:
            now, mono = time.time_ns() // 1000, time.monotonic()
            self._find_due(now)
            works: list[Work] = []
            for lane in self._active.values():
                self._began(lane, due := lane.take_due(now, mono))
                works += due
            self._take_ready(works, min(most, self._limits.free()), mono)
            self._let_others_begin()
            self._count -= len(works)
            is_low = bool(works) and any(map(self._is_low, self._served))
            self._served.clear()
            wait = (self._slots[0][0] - now) / 1e6 if self._slots else math.inf
        if is_low:
            self.on_low()
        return works, max(0.0, wait)

    def settle(self, settled: Settled) -> None:
        """Record how taken deliveries ended."""
        with self._lock:
            now = time.monotonic()
            for (session_id, response), began in settled.items():
                self._limits.ended(session_id, response, began, now)

    def note_waits(self, sender: object, began: Mapping[str, Sequence[float]]) -> None:
        """Record when a sender's messages under way began, by session."""
        with self._lock:
            self._limits.note_waits(sender, began, time.monotonic())
            self._forget_idle()

    def broadcast_ids(self) -> set[str]:
        """Return the broadcasts with deliveries in the queue."""
        with self._lock:
            return {work.broadcast.broadcast_id for work in self._all()}

    def remove(self, which: Callable[[Work], bool]) -> list[Work]:
        """Remove and return the deliveries that match, for example all of a broadcast."""
        gone: list[Work] = []
        kept: list[Work] = []
        with self._lock:
            for work in self._all():
                (gone if which(work) else kept).append(work)
            self._clear()
            self._put(kept)
        return gone

    def remove_excess(self) -> list[Work]:
        """Remove and return what silent sessions will not send soon: other processes may."""
        works = []
        with self._lock:
            for lane in self._lanes.values():
                while lane.limit.is_silent and lane.ready and len(lane) > self._target(lane):
                    works.append(lane.ready.pop())
            self._count -= len(works)
        return works

    def close(self) -> list[Work]:
        """Close the queue; return the deliveries that still wait."""
        self.is_closed = True
        works = self.remove(lambda _work: True)
        self.on_work()
        return works

    def _lane(self, session_id: str, concurrency: int | None = None) -> _Lane:
        limit = self._limits.of(session_id, concurrency)
        if session_id not in self._lanes:
            self._lanes[session_id] = _Lane(limit)
        return self._lanes[session_id]

    def _target(self, lane: _Lane) -> int:
        if lane.limit.is_silent or not lane.limit.answers:
            return int(2 * lane.limit.allowed)
        ahead = int(lane.rate * max(2 * self._claim_seconds, _AHEAD))
        return max(min(self._batch, 2 * lane.limit.most), min(ahead, self._most))

    def _is_low(self, lane: _Lane) -> bool:
        return len(lane) <= self._target(lane) // 2

    def _find_due(self, now: int) -> None:
        while self._slots and self._slots[0][0] <= now:
            work = heapq.heappop(self._slots)[2]
            lane = self._lanes[work.broadcast.session_id]
            lane.waiting -= 1
            lane.due.append(work)
            self._active[work.broadcast.session_id] = lane

    def _take_ready(self, works: list[Work], room: int, mono: float) -> None:
        """Take an even share from each session that has a ready delivery and a place."""
        lanes = [lane for lane in self._active.values() if lane.ready]
        while lanes and room > 0:
            share = max(1, room // len(lanes))
            left = []
            for lane in lanes:
                self._began(lane, taken := lane.take_ready(min(share, room), mono))
                works += taken
                room -= len(taken)
                if lane.ready and len(taken) == share:
                    left.append(lane)
            lanes = left

    def _let_others_begin(self) -> None:
        """Move the first lane behind the others, and drop empty lanes."""
        lanes = [(name, lane) for name, lane in self._active.items() if lane.due or lane.ready]
        self._active = dict(lanes[1:] + lanes[:1])

    def _began(self, lane: _Lane, works: list[Work]) -> None:
        if works:
            lane.taken += len(works)
            self._limits.began(lane.limit, len(works))
            self._served.append(lane)

    def _put(self, works: list[Work]) -> None:
        for broadcast, group in itertools.groupby(works, attrgetter("broadcast")):
            lane = self._lane(broadcast.session_id, broadcast.concurrency)
            for work in group:
                if work.moment:
                    heapq.heappush(self._slots, (work.moment, next(self._numbers), work))
                    lane.waiting += 1
                else:
                    lane.ready.append(work)
            if lane.ready:
                self._active[broadcast.session_id] = lane
        self._count += len(works)

    def _all(self) -> Iterable[Work]:
        ready = (work for lane in self._lanes.values() for work in (*lane.due, *lane.ready))
        return itertools.chain(ready, (work for _, _, work in self._slots))

    def _clear(self) -> None:
        for lane in self._lanes.values():
            lane.due.clear()
            lane.ready.clear()
            lane.waiting = 0
        self._slots.clear()
        self._active.clear()
        self._count = 0

    def _forget_idle(self) -> None:
        before = time.monotonic() - _KEPT
        for session_id, lane in list(self._lanes.items()):
            if not (len(lane) or lane.limit.under_way) and lane.limit.ended_at < before:
                del self._lanes[session_id]
                self._limits.forget(session_id)
