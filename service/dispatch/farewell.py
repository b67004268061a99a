"""What a process says to whoever waits for its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_A_MOMENT = 0.5
"""Seconds that nobody wonders about."""


@contextmanager
def announced(say: Callable[[str], object], grace: float) -> Iterator[None]:
    """Say what the block waits for, unless it ends in a moment; `grace` in seconds."""
    said = f"Finishing the sends under way; this takes {grace:g} seconds at most."
    timer = threading.Timer(_A_MOMENT, say, [said])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
