"""The rate table: a file in which the processes of a machine count events together.

It is a hash table of fixed size. A key's slot has the time up to which its rate is spent. Slots
whose time has passed are free for reuse. Times come from a clock that nobody can set. It restarts
with each boot, and so does the table.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")

_SLOT: Final = struct.Struct("<16sqqq")
_TOGETHER: Final = 8
"""Slots in which a key may be."""

_BUCKETS: Final = 4_096
_BUCKET: Final = _SLOT.size * _TOGETHER
_HEADER: Final = 64
_PATIENCE: Final = 0.5
"""Seconds to wait for a lock: whoever has it needs microseconds, unless it was stopped."""

_PAUSE: Final = 0.0001
_BEYOND: Final = 1 << 40
"""The place of locks that are about keys, past the end of the file."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Slot(NamedTuple):
    """What is known of a key; times are in microseconds.

    `lent` events may happen without asking the database, and nobody asks it before `closed_until`.
    """

    spent_until: int = 0
    closed_until: int = 0
    lent: int = 0


def clock() -> int:
    """Return the microseconds since the machine booted."""
    return time.clock_gettime_ns(_CLOCK) // 1_000


class RateTable:
    """A table in a file. It is opened when it is first used, after any fork."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._file: int | None = None

    def change(self, key: str, change: Callable[[Slot], tuple[Slot, T]]) -> T:
        """Replace the slot of a key by the one that `change` returns; return its second result.

        No other thread or process changes a slot meanwhile. Raises OSError.
        """
        digest = _hash(key)
        start = _HEADER + int.from_bytes(digest[:4], "little") % _BUCKETS * _BUCKET
        with self._turn, self._locked() as file:
            slots = list(_SLOT.iter_unpack(os.pread(file, _BUCKET, start).ljust(_BUCKET, b"\0")))
            place = _place(slots, digest)
            found, *values = slots[place]
            before = Slot(*values) if found == digest else Slot()
            after, returned = change(before)
            if after != before:
                os.pwrite(file, _SLOT.pack(digest, *after), start + place * _SLOT.size)
        return returned

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Lock the file against other processes.

        The lock belongs to the process, so a fork does not share it, and ends with it.
        """
        file = self._opened()
        _lock(file)
        try:
            yield file
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, 1)

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Keep other processes out of their own blocks for this key, or a few others, if possible.

        Threads of one process do not keep each other out.
        """
        with self._turn:
            file = self._opened()
        place = _BEYOND + _hash(key)[0]
        with suppress(TimeoutError):
            _lock(file, place)
        try:
            yield
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, 1, place)

    def _opened(self) -> int:
        if self._file is None:
            self._file = self._open()
            weakref.finalize(self, os.close, self._file)
        return self._file

    def _open(self) -> int:
        """Open the file; empty it if it is of an earlier boot."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        boot = _boot()
        try:
            _lock(file)
            if os.pread(file, _HEADER, 0) != boot:
                os.ftruncate(file, 0)
                os.pwrite(file, boot, 0)
            fcntl.lockf(file, fcntl.LOCK_UN, 1)
        except OSError:
            os.close(file)
            raise
        return file


def _place(slots: list[tuple[bytes, int, int, int]], digest: bytes) -> int:
    """Return where a key is, or where it replaces the key that is unused for the longest time."""
    for place, (found, *_) in enumerate(slots):
        if found == digest:
            return place
    return min(range(_TOGETHER), key=lambda place: slots[place][1])


def _hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def _lock(file: int, place: int = 0) -> None:
    """Lock one byte of a file, which need not exist; raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(_PAUSE)
        else:
            return


def _boot() -> bytes:
    """Return the id of this boot; the same for all boots where the system has none."""
    try:
        return _BOOT_ID.read_bytes()[:_HEADER].ljust(_HEADER, b"\0")
    except OSError:
        return bytes(_HEADER)
