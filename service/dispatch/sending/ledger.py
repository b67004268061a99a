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


Key = tuple[str, int]
"""A delivery's id and the moment of its claim: one that was given back may be claimed anew before
its place is erased."""


class Ledger:
    """The ledger of this process; without a file, on a full disk, it notes nothing."""

    def __init__(self, folder: Path, places: int) -> None:
        self._folder = folder
        self._places = places
        self._pages: mmap.mmap | None = None
        self._names: list[Path] = []
        self._free: deque[int] = deque()
        self._offsets: dict[Key, int] = {}

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

    def mark(self, key: Key) -> bool:
        """Note that a claimed delivery is under way; tell whether there was a place for it."""
        if self._pages is None or key in self._offsets:
            return True
        try:
            offset = self._free.popleft()
        except IndexError:
            return False
        self._offsets[key] = offset
        self._pages[offset : offset + _PLACE] = (key[0] + key[0][_HALF:]).encode()
        return True

    def erase(self, keys: Iterable[Key]) -> None:
        """Forget deliveries whose results are committed."""
        for key in keys:
            offset = self._offsets.pop(key, None)
            if offset is not None and self._pages is not None:
                self._pages[offset : offset + _PLACE] = _EMPTY
                self._free.append(offset)

    def close(self, *, all_written: bool = True) -> None:
        """End; the file stays for whoever takes over, where a delivery is still claimed here."""
        if all_written and not self._offsets:
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
    """Remove the file of a dead dispatcher of which nothing is left to take over.

    One that was taken for dead and lives needs its file under the next id.
    """
    path = folder / dispatcher_id
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)


def kept(folder: Path) -> list[str]:
    """Return the ids of the dispatchers that have a file here."""
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _create(path: Path, places: int) -> mmap.mmap:
    """Make a file with room for all: a mapped file that grows on a full disk ends by SIGBUS.

    The header comes last. Some file systems can be neither locked nor mapped; the file that is left
    there says nothing, instead of saying that nothing is under way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"-" * _HEADER + _EMPTY * places)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the mapping keeps it: it has a duplicate
        pages = mmap.mmap(file.fileno(), 0)
    pages[:_HEADER] = _header(places)
    return pages


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
