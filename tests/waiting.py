"""Waiting for what other threads and processes do, without guessing how long it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LIMIT = 60.0
"""Seconds after which a condition is not going to come true, on a machine with much else to do."""

_PAUSE = threading.Event()


def until(condition: Callable[[], object], limit: float = LIMIT) -> None:
    """Return soon after a condition is true; fail the test where that takes too long.

    The longer it takes, the more seldom it is looked at, up to ten times a second.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < limit, f"still not true after {limit} seconds: {condition}"
        _PAUSE.wait(min(max(0.01, waited / 10), 0.1))
