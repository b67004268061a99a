"""Rates: how many events are allowed per time, by the generic cell rate algorithm (GCRA).

One number records the allowed events: the time up to which a rate is spent, in microseconds of any
clock. A rate that is spent up to a past time is unused, so forgetting it changes nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

SECOND = 1_000_000
"""Microseconds."""


class Rate(NamedTuple):
    """At most `burst` events at once; after those, one every `interval` microseconds."""

    burst: int
    interval: int

    @property
    def window(self) -> int:
        """Return the microseconds after which an unused rate allows a whole burst again."""
        return self.burst * self.interval


class DrawResult(NamedTuple):
    """What a rate allows: `granted` events now, and `left` more.

    `wait` is the time in microseconds until another event is allowed, 0 if one is allowed now.
    """

    granted: int
    left: int
    spent_until: int
    wait: int


def per_second(events: int, burst: int) -> Rate:
    """Return a rate of this many events per second."""
    return Rate(burst, math.ceil(SECOND / events))


def draw(rate: Rate, spent_until: int, wanted: int, *, now: int) -> DrawResult:
    """Take up to `wanted` events from a rate that is spent up to a time."""
    horizon = now + rate.window
    # A clock that was set back, or a lowered limit, costs at most one burst: whoever keeps the
    # result of a refusal, too, goes on from the time that the clock shows now.
    spent = min(max(spent_until, now), horizon)
    free = (horizon - spent) // rate.interval
    granted = min(wanted, free)
    spent += granted * rate.interval
    left = free - granted
    wait = 0 if left else spent + rate.interval - horizon
    return DrawResult(granted, left, spent, wait)
