"""A small disk in memory, that can be filled to the last byte."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

MIB = 1024 * 1024

_SMALLEST_PIECE = 4096


class NoDiskError(Exception):
    """A disk of our own needs the right to mount one."""


class Disk:
    """A tmpfs mounted on a folder; everything the service and its database keep lies on it."""

    def __init__(self, folder: Path, size: int) -> None:
        """Mount it, `size` in bytes; raises NoDiskError where that is not allowed."""
        self.folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir()
        if os.geteuid():
            raise NoDiskError
        options = f"size={size},mode=0755,nr_inodes=100k"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            raise NoDiskError

    def fill(self) -> int:
        """Leave no byte free; return how many there were."""
        piece, filled = 64 * MIB, 0
        with self._ballast.open("ab") as file:
            while piece >= _SMALLEST_PIECE:
                try:
                    os.posix_fallocate(file.fileno(), filled, piece)
                    filled += piece
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2
        return filled

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount, with whatever is on it."""
        self.free()
        command = ["umount", str(self.folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)  # noqa: S607
