"""The lease: a process may send only while its heartbeat is recent, and detects dead processes.

Each heartbeat increments a number on this process's row. If another process's number does not
change for a whole lease, that process is removed, and the sweep takes over its claims. Clocks of
different machines are never compared. A process that was frozen sees that its last heartbeat is too
old. It sends nothing until the next heartbeat, with a new id if it was removed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import structlog

from service.core import dispatchers
from service.core.dispatchers import LostClaimError
from service.database import OUT_OF_REACH, Database, now_ms

log = structlog.get_logger(__name__)

_BEATS_PER_LEASE = 6
_TRUSTED_PART = 0.75
"""Fraction of the lease in which a process still sends; the rest covers slow clocks."""

_FULL_INTERVAL = 0.9
"""Part of the interval between two beats after which a look counts."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that continues while the machine is suspended, if the system has one."""


class Lease:
    """This process's row among the dispatchers, valid for `seconds` after each heartbeat."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._interval = seconds / _BEATS_PER_LEASE
        self._looks: dict[str, tuple[int, int]] = {}
        self._looked_at = -math.inf
        self._good_until = -math.inf
        self.id = ""
        self.on_dead: Callable[[], None] = lambda: None
        self.on_join: Callable[[str], None] = lambda _id: None

    def join(self) -> None:
        """Register under a new id."""
        began = time.clock_gettime(_CLOCK)
        with self._database.writing() as db:
            self.id = dispatchers.register(db, now=now_ms())
        self.on_join(self.id)
        self._good_until = began + self._seconds * _TRUSTED_PART

    def leave(self) -> None:
        """Remove the row: other processes take over its claims.

        If the database is unreachable, the others notice by themselves.
        """
        self._good_until = -math.inf
        try:
            with self._database.writing() as db:
                dispatchers.remove(db, [self.id])
        except OUT_OF_REACH:
            log.warning("left without a word, the database is out of reach", dispatcher=self.id)

    def is_good(self) -> bool:
        """Return whether no other process can have declared this one dead."""
        return time.clock_gettime(_CLOCK) < self._good_until

    def holds(self, claim_id: str) -> bool:
        """Return whether this process may still send what it claimed under this id."""
        # In this order: a process that was taken for dead has its new id before it is good again.
        return time.clock_gettime(_CLOCK) < self._good_until and claim_id == self.id

    def turn(self) -> float:
        """Send a heartbeat and remove dead processes; return the seconds until the next one."""
        if self.id:
            self._beat()
        else:
            self.join()
        self._strike_the_dead()
        return self._interval

    def _beat(self) -> None:
        began = time.clock_gettime(_CLOCK)
        try:
            with self._database.writing() as db:
                dispatchers.beat(db, self.id, now=now_ms())
            self._good_until = began + self._seconds * _TRUSTED_PART
        except LostClaimError:
            lost = self.id
            self.join()
            log.warning("taken for dead, going on under a new id", lost=lost, dispatcher=self.id)

    def _strike_the_dead(self) -> None:
        with self._database.reading() as db:
            dead = set(dispatchers.departed(db)) | self._standing_still(dispatchers.beats(db))
        dead.discard(self.id)
        if not dead:
            return
        with self._database.writing() as db:
            dispatchers.remove(db, sorted(dead))
        log.warning("dispatchers are gone, their claims are taken over", dispatchers=sorted(dead))
        self.on_dead()

    def _standing_still(self, beats: dict[str, int]) -> set[str]:
        """Count the checks in which each other dispatcher showed the same number.

        A loop that is woken, or repeats a failed turn, checks more often than others beat.
        """
        now = time.clock_gettime(_CLOCK)
        if now - self._looked_at < _FULL_INTERVAL * self._interval:
            return set()
        self._looked_at = now
        seen, self._looks = self._looks, {}
        for dispatcher_id, count in beats.items():
            last, looks = seen.get(dispatcher_id, (count, 0))
            self._looks[dispatcher_id] = (count, looks + 1 if count == last else 0)
        return {each for each, (_, looks) in self._looks.items() if looks > _BEATS_PER_LEASE}
