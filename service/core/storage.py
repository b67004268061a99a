"""Storage: the bytes of attachments, on a disk of ours.

A file comes in under a passing name in a folder of its own, and gets its real name by a rename
once it is complete and on the disk: under that name there is all of it or nothing. Whatever a
crash leaves behind is older than an hour when it is swept away.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from typing_extensions import Buffer

from service.config import Settings
from service.errors import TooLargeError

ABANDONED_AFTER = 3600.0
"""Seconds after which a file that nothing in the database knows belongs to no upload any more."""

_SWEPT_TOGETHER = 500


class Incoming(io.BufferedRandom):
    """A file on its way in; closing it without `keep` removes it."""

    def __init__(self, path: Path, limit: int, mode: int = 0o600) -> None:
        super().__init__(io.FileIO(path, "x+", opener=partial(os.open, mode=0o600)))
        os.fchmod(self.fileno(), mode)
        self.size = 0
        self._path = path
        self._limit = limit

    def write(self, data: Buffer) -> int:
        """Append bytes; raises TooLargeError as soon as there are more than the limit."""
        self.size += memoryview(data).nbytes
        if self.size > self._limit:
            sentence = f"A file may have {self._limit} bytes at most."
            raise TooLargeError(sentence, errors={"file": [sentence]})
        return super().write(data)

    def keep(self, path: Path) -> None:
        """Give the file its lasting name; once this returns, a power cut does not take it."""
        self.flush()
        os.fsync(self.fileno())
        self._path.rename(path)
        _sync_folder(path.parent)

    def close(self) -> None:
        """Let go of the file, and remove it unless it was kept; may be called again."""
        try:
            super().close()
        finally:
            # What cannot be written, on a full disk, must not stay behind either.
            self._path.unlink(missing_ok=True)


class Storage:
    """A folder of files that are written once and never change."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.attachments_dir
        self._incoming = self.folder / "incoming"
        self._limit = settings.max_attachment_bytes
        # nginx, where it serves the files, has been let into the service's group. Only these files
        # and their folder are the group's, whatever the umask of the process.
        self._is_shared = bool(settings.accel_prefix)

    def receive(self) -> Incoming:
        """Open a new file for what is about to come in."""
        if not self._incoming.exists():
            self._make_folders()
        mode = 0o640 if self._is_shared else 0o600
        return Incoming(self._incoming / secrets.token_hex(16), self._limit, mode)

    def _make_folders(self) -> None:
        self._incoming.mkdir(parents=True, exist_ok=True)
        if self._is_shared:
            self.folder.chmod(0o750)

    def path(self, name: str) -> Path:
        """Return where the file of that name is; the caller has checked the name."""
        return self.folder / name

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is fine."""
        self.path(name).unlink(missing_ok=True)

    def sweep(
        self,
        known: Callable[[Collection[str]], Collection[str]],
        *,
        now: float,
        remove: bool = True,
    ) -> int:
        """Remove what no upload and no attachment needs any more; return how many files it was.

        `known` is asked, some hundred names at a time, which of them are attachments. `now` in
        seconds of Unix time. Without `remove` they are only counted.
        """
        before = now - ABANDONED_AFTER
        abandoned = list(_older(self._incoming, before))
        stored = list(_older(self.folder, before))
        for at in range(0, len(stored), _SWEPT_TOGETHER):
            some = {path.name: path for path in stored[at : at + _SWEPT_TOGETHER]}
            needed = known(some.keys())
            abandoned += [path for name, path in some.items() if name not in needed]
        for path in abandoned if remove else ():
            path.unlink(missing_ok=True)
        return len(abandoned)


def _older(folder: Path, before: float) -> Iterator[Path]:
    """Yield the files of a folder that were last written before a moment."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        try:
            if path.is_file() and path.stat().st_mtime < before:
                yield path
        except FileNotFoundError:
            continue


def _sync_folder(folder: Path) -> None:
    """Make a rename last: the name is in the folder, which is written separately."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
