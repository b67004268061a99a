"""Ids of 24 hex digits that sort by time.

Their first 8 digits are the Unix time in seconds, as in MongoDB's ObjectId (a client that reads
the time out of an id finds it there); the next 4 are the fraction of the second in 1/65536; then
6 random ones for the process and 6 of a counter.

A broadcast's id ends in six zeros, and the ids of its deliveries are that id plus the recipient's
position counted from 1. So a delivery's id tells its broadcast and its place in `to`, sorting
by id is sorting by place, and the deliveries of a broadcast are one range of the primary key.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import threading
import time

LENGTH = 24
PATTERN = re.compile(r"[0-9a-f]{24}\Z")

MOST_DELIVERIES = 0xFFFFFF
"""The most deliveries one broadcast can have: what six hex digits can count."""

_TAIL = 6


class _Mint:
    """A source of ids that never goes back, whatever the wall clock does."""

    def __init__(self) -> None:
        self._tick = 0
        self.reseed()

    def reseed(self) -> None:
        """Begin anew: the child of a fork must not go on where its parent was."""
        self._lock = threading.Lock()
        self._counter = itertools.count(secrets.randbits(20))
        self._process = secrets.token_hex(3)

    def tick(self) -> int:
        """Return the time in 1/65536 s, never less than the last one returned."""
        with self._lock:
            self._tick = max(self._tick, (time.time_ns() << 16) // 1_000_000_000)
            return self._tick

    def new(self) -> str:
        return f"{self.tick():012x}{self._process}{next(self._counter) & 0xFFFFFF:06x}"

    def new_broadcast(self) -> str:
        return f"{self.tick():012x}{secrets.token_hex(3)}{0:06x}"


_mint = _Mint()
os.register_at_fork(after_in_child=_mint.reseed)
new = _mint.new
new_broadcast = _mint.new_broadcast


def first(moment: int) -> str:
    """Return the smallest id that is made at a moment, in Unix milliseconds, or later."""
    tick = (moment << 16) // 1000
    return f"{tick:012x}{0:012x}"


def is_id(text: str) -> bool:
    """Tell whether a text has the form of an id."""
    return PATTERN.match(text) is not None


def delivery(broadcast_id: str, position: int) -> str:
    """Return the id of the delivery to the recipient at a position of `to`, counted from 0."""
    return f"{broadcast_id[:-_TAIL]}{position + 1:06x}"


def head(broadcast_id: str) -> str:
    """Return what the ids of a broadcast and of all its deliveries begin with."""
    return broadcast_id[:-_TAIL]


def moved(delivery_id: str, broadcast_id: str) -> str:
    """Return the id of the delivery at the same place of another broadcast."""
    return f"{broadcast_id[:-_TAIL]}{delivery_id[-_TAIL:]}"
