"""Storage: the files of attachments on disk.

An upload is written under a temporary name in its own folder. When it is complete and synced to
disk, it is renamed, so its final name always has the complete file. The sweep removes what a crash
leaves behind, after an hour.
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
"""Seconds after which a file without a row cannot belong to a running upload."""

_SWEPT_TOGETHER = 500


class Incoming(io.BufferedRandom):
    """A file being uploaded. Closing it without `keep` removes it."""

    def __init__(self, path: Path, limit: int, mode: int = 0o600) -> None:
        super().__init__(io.FileIO(path, "x+", opener=partial(os.open, mode=0o600)))
        os.fchmod(self.fileno(), mode)
        self.size = 0
        self._path = path
        self._limit = limit

    def write(self, data: Buffer) -> int:
        """Append bytes; raises TooLargeError above the limit."""
        self.size += memoryview(data).nbytes
        if self.size > self._limit:
            sentence = f"The file is too large: at most {self._limit} bytes are accepted."
            raise TooLargeError(sentence, errors={"file": [sentence]})
        return super().write(data)

    def keep(self, path: Path) -> None:
        """Rename the file to its final name; after that it survives a power cut."""
        self.flush()
        os.fsync(self.fileno())
        self._path.rename(path)
        _sync_folder(path.parent)

    def close(self) -> None:
        """Close the file, and remove it unless it was kept. May be called twice."""
        try:
            super().close()
        finally:
            # Remove the file even if the last bytes cannot be flushed to a full disk.
            self._path.unlink(missing_ok=True)


class Storage:
    """A folder of files that never change."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.attachments_dir
        self._incoming = self.folder / "incoming"
        self._limit = settings.max_attachment_bytes
        # nginx may serve the files as a member of the service's group. Only these files and their
        # folder are readable by the group, whatever the umask.
        self._is_shared = bool(settings.accel_prefix)

    def receive(self, limit: int | None = None) -> Incoming:
        """Open a new file for an upload; `limit` replaces that of attachments."""
        if not self._incoming.exists():
            self._make_folders()
        mode = 0o640 if self._is_shared else 0o600
        return Incoming(self._incoming / secrets.token_hex(16), limit or self._limit, mode)

    def _make_folders(self) -> None:
        self._incoming.mkdir(parents=True, exist_ok=True)
        if self._is_shared:
            self.folder.chmod(0o750)

    def path(self, name: str) -> Path:
        """Return the path of a file. The caller has validated the name."""
        return self.folder / name

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        self.path(name).unlink(missing_ok=True)

    def sweep(
        self,
        known: Callable[[Collection[str]], Collection[str]],
        *,
        now: float,
        remove: bool = True,
    ) -> int:
        """Remove files that no upload and no attachment needs; return their number.

        `known` returns which of a few hundred names are attachments. `now` is in Unix seconds. With
        `remove=False`, they are only counted.
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
    """Yield the files of a folder that were last written before a time."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        try:
            if path.is_file() and path.stat().st_mtime < before:
                yield path
        except FileNotFoundError:
            continue


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
