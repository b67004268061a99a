"""The ledger: which deliveries this process has under way, in a file that survives `kill -9`.

Before the first byte of a message leaves, its delivery's id is written into a memory-mapped file;
it is erased once the result is committed. Whoever takes over a dead dispatcher of the same machine
and boot reads there what may have arrived. Everything else that was claimed goes back untouched.

The file is a header and places of 32 bytes. A place holds a delivery's id and the end of it once
more, or dashes. Any other content makes the file unreadable: then all that was claimed may have
arrived. The kernel keeps the pages of a process that is killed; a power cut changes the boot id.
A process locks its ledger for as long as it lives, so that nobody reads that of one which was
taken for dead and goes on.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_PLACE: Final = 32
_HEADER: Final = 64
_ID: Final = 24
_EMPTY: Final = b"-" * _PLACE
_HALF: Final = _PLACE // 2
_IS_ID: Final = re.compile(rb"[0-9a-f]{24}")
_MAGIC: Final = "crier-ledger-1"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Ledger:
    """The ledger of this process; without a file, on a full disk, it notes nothing."""

    def __init__(self, folder: Path, places: int) -> None:
        self._folder = folder
        self._places = places
        self._pages: mmap.mmap | None = None
        self._names: list[Path] = []
        self._free: deque[int] = deque()
        self._offsets: dict[tuple[str, str], int] = {}

    def open(self, dispatcher_id: str) -> None:
        """Have a file under a dispatcher's id; one that there is already gets that name, too.

        A process that was taken for dead goes on under a new id, and what it has under way may be
        of either.
        """
        path = self._folder / dispatcher_id
        try:
            if self._names:
                os.link(self._names[0], path)
            else:
                self._pages = _create(path, self._places)
                self._free.extend(range(_HEADER, _HEADER + _PLACE * self._places, _PLACE))
            self._names.append(path)
        except OSError as error:
            log.warning(
                "no ledger: after a crash all that was claimed is uncertain", cause=str(error)
            )

    def mark(self, claim_id: str, delivery_id: str) -> bool:
        """Note that a delivery of a claim is under way; tell whether there was a place for it."""
        if self._pages is None or (claim_id, delivery_id) in self._offsets:
            return True
        try:
            offset = self._free.popleft()
        except IndexError:
            return False
        self._offsets[claim_id, delivery_id] = offset
        self._pages[offset : offset + _PLACE] = (delivery_id + delivery_id[_HALF:]).encode()
        return True

    def erase(self, claimed: Iterable[tuple[str, str]]) -> None:
        """Forget deliveries, by claim and id, whose results are committed."""
        for each in claimed:
            offset = self._offsets.pop(each, None)
            if offset is not None and self._pages is not None:
                self._pages[offset : offset + _PLACE] = _EMPTY
                self._free.append(offset)

    def close(self) -> None:
        """Remove the file: nothing is under way any more, or the results could not be written.

        In the second case it stays, for whoever takes over.
        """
        if not self._offsets:
            for path in self._names:
                path.unlink(missing_ok=True)
        self._names.clear()
        self._pages = None


def under_way(folder: Path, dispatcher_id: str) -> set[str] | None:
    """Return the deliveries that a dead dispatcher had under way; None: nobody can tell."""
    try:
        with (folder / dispatcher_id).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            content = file.read()
    except OSError:
        return None
    header, places = content[:_HEADER], content[_HEADER:]
    if header != _header(len(places) // _PLACE) or len(places) % _PLACE:
        return None
    found = set()
    for start in range(0, len(places), _PLACE):
        place = places[start : start + _PLACE]
        if place == _EMPTY or _is_half_written(place):
            continue
        if not _is_whole(place):
            return None
        found.add(place[:_ID].decode())
    return found


def forget(folder: Path, dispatcher_id: str) -> None:
    """Remove the file of a dispatcher of which nothing is left to take over."""
    with suppress(OSError):
        (folder / dispatcher_id).unlink(missing_ok=True)


def kept(folder: Path) -> list[str]:
    """Return the ids of the dispatchers that have a file here."""
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _create(path: Path, places: int) -> mmap.mmap:
    """Make a file with room for all: a mapped file that grows on a full disk ends by SIGBUS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_header(places) + _EMPTY * places)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the mapping keeps it: it has a duplicate
        return mmap.mmap(file.fileno(), 0)


def _header(places: int) -> bytes:
    """Return what a file of this boot of this machine begins with."""
    boot = _BOOT_ID.read_text().strip().replace("-", "") if _BOOT_ID.exists() else "unknown"
    return f"{_MAGIC} {boot} {places}".ljust(_HEADER).encode()


def _is_whole(place: bytes) -> bool:
    return bool(_IS_ID.match(place)) and place[_ID:] == place[_HALF:_ID]


def _is_half_written(place: bytes) -> bool:
    """Tell whether a process died while it wrote: before it sent, or after it had committed.

    The processor stores sixteen bytes at a time, if not all of them.
    """
    return _EMPTY[:_HALF] in {place[:_HALF], place[_HALF:]}
