"""Rates: how fast a counter moves."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.workspace import BenchmarkError, until

_PATIENCE = 300.0
_LOOK = 0.02


def rate(count: Callable[[], int], total: int, *, part: tuple[float, float] = (0.0, 1.0)) -> float:
    """Return how many a second were counted between two parts of the way to `total`."""
    until(lambda: count() >= max(1, int(total * part[0])), "the first deliveries")
    began, first = time.perf_counter(), count()
    wait_for(count, int(total * part[1]))
    return (int(total * part[1]) - first) / (time.perf_counter() - began)


def wait_for(count: Callable[[], int], total: int) -> None:
    """Wait until so many are counted; raises BenchmarkError when it takes minutes."""
    deadline = time.monotonic() + _PATIENCE
    while (done := count()) < total:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"Only {done} of {total} were delivered.")
        time.sleep(_LOOK)
