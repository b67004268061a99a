"""The event log: what was done to the service, and when."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Entry(NamedTuple):
    """One thing that was done; moments in seconds of Unix time.

    `delay` in seconds is for how long afterwards what was due then may rightly wait.
    """

    fault: str
    what: str
    began: float
    ended: float
    delay: float = 0.0


class EventLog:
    """All that was done, by several threads."""

    def __init__(self, *, aloud: bool = False) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._aloud = aloud
        self._start = time.time()

    def note(self, fault: str, what: str, began: float | None = None, delay: float = 0.0) -> None:
        """Write down what is done now, or was begun at a moment and is over now."""
        now = time.time()
        with self._lock:
            self._entries.append(Entry(fault, what, began or now, now, delay))
        if self._aloud:
            print(f"  {now - self._start:7.1f} s  {fault:<9}{what}", flush=True)

    @contextmanager
    def noting(self, fault: str, what: str, delay: float = 0.0) -> Iterator[None]:
        """Write down what is done within the block."""
        began = time.time()
        try:
            yield
        finally:
            self.note(fault, what, began, delay)

    def entries(self, *faults: str) -> list[Entry]:
        """Return the entries of some faults, or of all of them."""
        with self._lock:
            return [entry for entry in self._entries if entry.fault in faults or not faults]

    def counts(self) -> Counter[str]:
        """Count the entries by fault."""
        return Counter(entry.fault for entry in self.entries())
