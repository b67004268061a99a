"""A wall clock that is wrong by as much as a file says, for whoever starts with this on its path.

Python imports a module of this name before anything else (https://docs.python.org/3/library/site.html):
nothing in the service knows of it. `time.time` and `time.time_ns` are replaced, which is all that
it takes decisions on; `time.monotonic` and the clocks of the system are right, and so is
`datetime.now`, which is asked for by the engine `procrastinate` and for a token's end alone.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from pathlib import Path

_RIGHT = "service.channels.drivers.sandbox.store"
"""It stands for a provider, whose clock is another: what it notes down is to be relied upon."""

_BILLION = 1_000_000_000


class _Clock:
    """The system's clock, and three numbers from a file: see `chaos.clock`."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._numbers = memoryview(content).cast("q")
        self._time_ns = time.time_ns
        self._notice_pid()
        os.register_at_fork(after_in_child=self._notice_pid)

    def time_ns(self) -> int:
        """Return nanoseconds of Unix time as this process is to see them."""
        caller = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001 - there is no other way
        return self._time_ns() + (0 if caller == _RIGHT else self._offset())

    def time(self) -> float:
        """Return seconds of the same."""
        return (self._time_ns() + self._offset()) / _BILLION

    def _offset(self) -> int:
        everybody, pid, alone = self._numbers
        return everybody + (alone if pid == self._pid else 0)

    def _notice_pid(self) -> None:
        self._pid = os.getpid()


if "CHAOS_CLOCK" in os.environ:
    _clock = _Clock(Path(os.environ["CHAOS_CLOCK"]))
    time.time, time.time_ns = _clock.time, _clock.time_ns
