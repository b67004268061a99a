"""What processes use, as Linux tells it in /proc: processor time and memory."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_USER_TIME, _SYSTEM_TIME, _CHILDREN_USER_TIME, _CHILDREN_SYSTEM_TIME = 11, 12, 13, 14
"""Places among the fields of /proc/PID/stat behind the name (proc(5))."""


def children(pid: int) -> list[int]:
    """Return the children of a process, the oldest first."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def processor(pid: int) -> float:
    """Return the seconds of processor time that a process has used, user and system."""
    return _times(pid, _USER_TIME, _SYSTEM_TIME)


def family(pid: int) -> float:
    """Return the processor seconds of a process and of its children, also of those that ended."""
    ended = _times(pid, _CHILDREN_USER_TIME, _CHILDREN_SYSTEM_TIME)
    return processor(pid) + ended + sum(map(processor, children(pid)))


def memory(pid: int) -> float:
    """Return a process's resident memory in MB."""
    return _status(pid, "VmRSS") * 1024 / 1e6


def peak(pid: int) -> float:
    """Return the most resident memory, in MB, that a process had since `forget_peak`."""
    return _status(pid, "VmHWM") * 1024 / 1e6


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return _status(pid, "Threads")


def forget_peak(pid: int) -> None:
    """Let the peak begin anew at what is used now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _times(pid: int, *places: int) -> float:
    """Return the sum of some processor times of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[place]) for place in places) * _TICK


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)
