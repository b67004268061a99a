"""The notice of a stopping process that must wait for sends to finish."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_A_MOMENT = 0.5
"""Seconds that need no notice."""


@contextmanager
def shown(say: Callable[[str], object], grace: float) -> Iterator[None]:
    """Show the notice if the block takes longer than a moment. `grace` is in seconds."""
    said = f"Finishing messages that are being sent; this takes {grace:g} seconds at most."
    timer = threading.Timer(_A_MOMENT, say, [said])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
