"""The ledger: a file of the deliveries that this process is sending. It survives `kill -9`.

Before the first byte of a message leaves, its delivery's id is written into a memory-mapped file.
The id is erased once the result is committed. When a dispatcher dies, another one on the same
machine and boot reads its ledger: these deliveries may have arrived. All its other claims go back
to the queue untouched.

The file has a header and places of 32 bytes. A place holds a delivery's id, followed by the end of
that id again, or dashes. Any other content makes the file unreadable, and then every claimed
delivery may have arrived. The kernel keeps the pages of a killed process. A power cut changes the
boot id. A process locks its ledger while it lives, so that no other process reads the ledger of a
dispatcher that was only presumed dead.
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
"""A delivery's id and the time of its claim: a released delivery may be claimed again before its
place is erased."""


class Ledger:
    """The ledger of this process. If the disk is full there is no file, and it records nothing."""

    def __init__(self, folder: Path, places: int) -> None:
        self._folder = folder
        self._places = places
        self._pages: mmap.mmap | None = None
        self._names: list[Path] = []
        self._free: deque[int] = deque()
        self._offsets: dict[Key, int] = {}

    def open(self, dispatcher_id: str) -> None:
        """Create the file under a dispatcher's id, or give an existing file that name as well.

        A process that was presumed dead continues under a new id. The deliveries that it is sending
        may belong to either id.
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
                "no ledger: after a crash, all claimed deliveries are uncertain", cause=str(error)
            )

    def mark(self, key: Key) -> bool:
        """Record that a claimed delivery is being sent; return whether there was a free place."""
        if key in self._offsets or self._pages is None:
            return True
        if not self._free:
            return False
        offset = self._offsets[key] = self._free.popleft()
        self._pages[offset : offset + _PLACE] = f"{key[0]}{key[0][_HALF:]}".encode()
        return True

    def erase(self, keys: Iterable[Key]) -> None:
        """Erase deliveries whose results are committed."""
        for key in keys:
            offset = self._offsets.pop(key, None)
            if offset is not None and self._pages is not None:
                self._pages[offset : offset + _PLACE] = _EMPTY
                self._free.append(offset)

    def close(self, *, all_written: bool = True) -> None:
        """Close the ledger. Keep the file for the next dispatcher if results are missing."""
        if all_written and not self._offsets:
            for path in self._names:
                path.unlink(missing_ok=True)
        self._names.clear()
        self._pages = None


def under_way(folder: Path, dispatcher_id: str) -> set[str] | None:
    """Return the deliveries that a dead dispatcher was sending; None if that is unknown."""
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
    """Remove the file of a dead dispatcher whose claims have all been released.

    A dispatcher that was only presumed dead keeps its file under its next id.
    """
    path = folder / dispatcher_id
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)


def kept(folder: Path) -> list[str]:
    """Return the ids of the dispatchers that have a file here."""
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _create(path: Path, places: int) -> mmap.mmap:
    """Create the file at full size: growing a mapped file on a full disk raises SIGBUS.

    The header is written last. Some file systems support neither locks nor mappings. The file left
    there is then unreadable, rather than claiming that nothing was being sent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"-" * _HEADER + _EMPTY * places)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the mapping keeps the lock: it duplicates the file
        pages = mmap.mmap(file.fileno(), 0)
    pages[:_HEADER] = _header(places)
    return pages


def _header(places: int) -> bytes:
    """Return the header of a file written in this boot of this machine."""
    boot = _BOOT_ID.read_text().strip().replace("-", "") if _BOOT_ID.exists() else "unknown"
    return f"{_MAGIC} {boot} {places}".ljust(_HEADER).encode()


def _is_whole(place: bytes) -> bool:
    return bool(_IS_ID.match(place)) and place[_ID:] == place[_HALF:_ID]


def _is_half_written(place: bytes) -> bool:
    """Return whether the process died while writing this place: before sending or after commit.

    The processor stores at least sixteen bytes at a time.
    """
    return _EMPTY[:_HALF] in {place[:_HALF], place[_HALF:]}
