"""A thread that calls a function repeatedly and survives its exceptions."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import structlog

from service.database import OUT_OF_REACH, lacks_tables
from service.metrics import meters

log = structlog.get_logger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 2.0


class Loop:
    """A named thread that calls `turn` again and again.

    `turn` returns how many seconds to wait before the next turn; `wake` ends that wait. If a turn
    raises, the loop logs the exception and waits before the next turn, at most two seconds. The
    loop counts as dead when a turn takes more than `patience` seconds.
    """

    def __init__(self, name: str, turn: Callable[[], float], patience: float = 30.0) -> None:
        self.name = name
        self.patience = patience
        self._turn = turn
        self._woken = threading.Event()
        self._stopping = threading.Event()
        # Created in `start`: after a fork, every existing thread looks ended.
        self._thread: threading.Thread | None = None
        self._next_at = time.monotonic()

    def start(self) -> None:
        """Start the thread."""
        self._next_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"crier-{self.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Start the next turn now."""
        if not self._woken.is_set():
            self._woken.set()

    def stop(self) -> None:
        """Stop after the current turn."""
        self._stopping.set()
        self._woken.set()

    def join(self, timeout: float) -> bool:
        """Wait for the last turn to end; return whether it ended in time."""
        if self._thread is not None:
            self._thread.join(max(0.0, timeout))
        return not self._is_alive()

    def stands_still(self) -> bool:
        """Return whether a turn takes too long, or the thread is dead."""
        return not self._is_alive() or time.monotonic() > self._next_at + self.patience

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                wait, pause = self._turn(), _FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - a loop continues after any error
                self._note(error)
                wait, pause = pause, min(2 * pause, _LONGEST_PAUSE)
            self._next_at = time.monotonic() + wait
            meters.turn_due(self.name, self._next_at)
            self._woken.wait(wait)
            self._woken.clear()
        meters.turn_due(self.name, math.inf)

    def _note(self, error: Exception) -> None:
        if isinstance(error, OUT_OF_REACH) or lacks_tables(error):
            log.warning("database unreachable", loop=self.name, error=_first_line(error))
        else:
            log.error("a turn failed", loop=self.name, exc_info=error)


def _first_line(error: Exception) -> str:
    """Return the first line of a database error: the rest repeats the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]
