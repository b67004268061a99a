"""Waiting for what other threads and processes do, without guessing how long it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LIMIT = 60.0
"""Seconds after which a condition is not going to come true, on a machine with much else to do."""

_PAUSE = threading.Event()


def until(condition: Callable[[], object], limit: float = LIMIT) -> None:
    """Return as soon as a condition is true; fail the test where that takes too long."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {limit} seconds: {condition}"
        _PAUSE.wait(0.01)
