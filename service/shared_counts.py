"""The counts of all processes on this machine, in files of a shared folder.

Each process has its own memory-mapped files. A file lock shows whether it still lives. When a
process has died, its counts move into a common file of the past, so a sum never falls when a worker
or a dispatcher is replaced.
"""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import structlog
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from service import file_locks

log = structlog.get_logger(__name__)

_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemin")
_KEPT = ("counter", "histogram")
"""The types that outlive their process. A gauge describes a living process."""

_FILE = 512 * 1024
"""Bytes of one file: several times the space of all labels, which are bounded.

They are allocated at once: growing a mapped file on a full disk kills the process with SIGBUS.
"""
_BROKEN = (RuntimeError, struct.error, ValueError)
"""The errors of a file that a power cut left half written."""


def join(folder: Path, token: str) -> IO[str]:
    """Let a process take part under a token; return the lock that it holds while it lives.

    Raises OSError, for example on a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        lock = _announce(folder, token)
        _discard_broken(folder)
    return lock


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder: no other process joins, leaves or sums up during the block."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _announce(folder: Path, token: str) -> IO[str]:
    """Create the files of a process, and a lock that it holds while it lives."""
    alive = folder / f"{token}.alive"
    lock = alive.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for kind in _KINDS:
            _allocate(folder / f"{kind}_{token}.db", _FILE)
    except OSError:
        lock.close()
        _bury(folder, alive)
        raise
    return lock


def _allocate(path: Path, size: int) -> None:
    """Fill a new file with zeros, completely or not at all."""
    try:
        path.write_bytes(bytes(size))
    except OSError:
        path.unlink()
        raise


def sums(folder: Path) -> Iterable[Metric]:
    """Return the sums over all processes that ever took part."""
    with _alone(folder):
        for announced in folder.glob("*.alive"):
            if not _lives(announced):
                # If the disk is too full for the past, the files stay and still count.
                with suppress(OSError):
                    _bury(folder, announced)
        merged: Iterable[Metric] = MultiProcessCollector.merge(map(str, folder.glob("*.db")))
        return merged


def _lives(announced: Path) -> bool:
    """Return whether a file's process holds its lock: the kernel releases it when it dies."""
    with announced.open("a") as lock:
        return not file_locks.take(lock)


def _bury(folder: Path, announced: Path) -> None:
    """Add the counts of a dead process to the past, and remove its files."""
    for kind in _KINDS:
        path = folder / f"{kind}_{announced.stem}.db"
        if kind in _KEPT and path.exists():
            with suppress(*_BROKEN):
                _add(folder / f"{kind}_past.db", path)
        path.unlink(missing_ok=True)
    announced.unlink()


def _add(total: Path, part: Path) -> None:
    if not total.exists():
        _allocate(total, 4 * _FILE)
    past = MmapedDict(str(total))
    try:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(part)):
            past.write_value(key, past.read_value(key)[0] + value, 0.0)
    finally:
        past.close()


def _discard_broken(folder: Path) -> None:
    """Remove the past if a power cut made it unreadable."""
    for kind in _KEPT:
        path = folder / f"{kind}_past.db"
        try:
            if path.exists():
                list(MmapedDict.read_all_values_from_file(str(path)))
        except _BROKEN:
            log.warning("the counts of earlier processes are unreadable", file=path.name)
            path.unlink()
