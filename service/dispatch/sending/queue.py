"""The queue of claimed deliveries: one lane per session, and a share of its room per client."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from service.dispatch.sending.lanes import WEIGHT, Lane, Work
from service.dispatch.sending.limits import Response
from service.dispatch.sending.prepared import PreparedBroadcast
from service.dispatch.sending.rooms import Room
from service.dispatch.sending.taking import TakenDeliveries

_AHEAD = 0.2
"""Minimum seconds of sending to claim ahead: a small claim costs nearly as much as a large one."""

_CLAIMS = 4
"""Claims in whose time what was claimed ahead is sent. When half of it is left, the next claim
begins, and may take twice as long as usual."""

_KEPT = 60.0
"""Seconds to keep the limit of a session that sends nothing."""


Settled = Iterable[tuple[str, Response, Sequence[float]]]
"""Ended deliveries: their session, their response and the times at which they began."""


class ClaimedQueue:
    """The deliveries that this process has claimed and not begun.

    It claims ahead what a session sends in a fifth of a second, or in four times the time of a
    claim if that is longer. A session that answers and may have many under way gets at least
    `batch`. The queue of a client alone never holds more than twice `batch`. If others have filled
    that, a client may still have its even share of it.
    """

    def __init__(self, room: int, batch: int) -> None:
        self._batch = batch
        self._most = 2 * batch
        self._room = Room(room)
        self._lanes: dict[str, Lane] = {}
        self._active: dict[str, Lane] = {}
        self._slots: list[tuple[int, int, Work]] = []
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

    def rooms(self, client_ids: Iterable[str]) -> dict[str, int]:
        """Return how many more deliveries may be claimed for each of some clients."""
        with self._lock:
            counts: Counter[str] = Counter()
            for lane in self._lanes.values():
                counts[lane.client_id] += len(lane)
            names = {*client_ids}
            share = self._most // max(1, len(names | {*+counts}))
            free = self._most - self._count
            return {name: max(0, free, share - counts[name]) for name in names}

    def is_low(self, session_id: str) -> bool:
        """Return whether the queue has at most half of the deliveries that a session needs."""
        with self._lock:
            lane = self._lanes.get(session_id)
            return lane is None or self._is_low(lane)

    def wanted(self, broadcast: PreparedBroadcast) -> int:
        """Return how many more deliveries of a session to claim; 0 while its lane is half full."""
        with self._lock:
            lane = self._lane(broadcast)
            lane.measure(time.monotonic())
            return self._target(lane) - len(lane) if self._is_low(lane) else 0

    def note_claim(self, seconds: float) -> None:
        """Record how long a claim took."""
        self._claim_seconds += WEIGHT * (seconds - self._claim_seconds)

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
            taken = TakenDeliveries(self._room, mono)
            taken.take_due(self._active.values(), now)
            taken.take_ready(self._active.values(), most)
            self._let_others_begin()
            self._count -= len(taken.works)
            is_low = any(map(self._is_low, taken.served))
            wait = (self._slots[0][0] - now) / 1e6 if self._slots else math.inf
        if is_low:
            self.on_low()
        return taken.works, max(0.0, wait)

    def settle(self, settled: Settled) -> None:
        """Record how taken deliveries ended."""
        with self._lock:
            now = time.monotonic()
            for session_id, response, began in settled:
                self._room.ended(session_id, response, began, now)

    def note_waits(self, sender: object, began: Mapping[str, Sequence[float]]) -> None:
        """Record when a sender's messages under way began, by session."""
        with self._lock:
            self._room.note_waits(sender, began, time.monotonic())
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

    def _lane(self, broadcast: PreparedBroadcast) -> Lane:
        session_id, client_id = broadcast.session_id, broadcast.client_id
        limit = self._room.of(session_id, broadcast.concurrency, client_id)
        if session_id not in self._lanes:
            self._lanes[session_id] = Lane(client_id, limit, time.monotonic())
        return self._lanes[session_id]

    def _target(self, lane: Lane) -> int:
        if lane.limit.is_silent or not lane.limit.answers:
            return int(2 * lane.limit.allowed)
        ahead = int(lane.rate * max(_CLAIMS * self._claim_seconds, _AHEAD))
        return max(min(self._batch, 2 * lane.limit.most), min(ahead, self._most))

    def _is_low(self, lane: Lane) -> bool:
        return len(lane) <= self._target(lane) // 2

    def _find_due(self, now: int) -> None:
        while self._slots and self._slots[0][0] <= now:
            work = heapq.heappop(self._slots)[2]
            lane = self._lanes[work.broadcast.session_id]
            lane.waiting -= 1
            lane.due.append(work)
            self._active[work.broadcast.session_id] = lane

    def _let_others_begin(self) -> None:
        """Move the first lane behind the others, and drop empty lanes."""
        lanes = [(name, lane) for name, lane in self._active.items() if lane.due or lane.ready]
        self._active = dict(lanes[1:] + lanes[:1])

    def _put(self, works: list[Work]) -> None:
        for broadcast, group in itertools.groupby(works, attrgetter("broadcast")):
            lane = self._lane(broadcast)
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
                self._room.forget(session_id)
