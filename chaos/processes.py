"""Processes as the system sees them; Linux tells it in /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import NamedTuple

from benchmarks import usage

_STARTED = 19
"""Place of the start time among the fields of /proc/PID/stat behind the name (proc(5))."""


class Process(NamedTuple):
    """A process that is known to be ours: its number alone could be given to another one."""

    pid: int
    started: str

    def is_alive(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        return find(self.pid) == self

    def signal(self, number: Signals) -> bool:
        """Send a signal, if it still runs; tell whether it did."""
        if not self.is_alive():
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def find(pid: int) -> Process | None:
    """Return the process under a number, None where there is none or only its remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else Process(pid, fields[_STARTED])


def children(pid: int) -> list[Process]:
    """Return the children of a process, the oldest first."""
    try:
        found = list(map(find, usage.children(pid)))
    except OSError:
        return []
    return [child for child in found if child is not None]


def descendants(pid: int) -> list[Process]:
    """Return the children of a process, each before its own."""
    return [each for child in children(pid) for each in (child, *descendants(child.pid))]
