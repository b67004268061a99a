"""The ledgers of processes, and what may happen to such a file."""

from __future__ import annotations

import os
from pathlib import Path

_FOLDER = "/ledgers/"


def of(pid: int) -> list[Path]:
    """Return the ledgers that a process has mapped into its memory."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return []
    names = {line.partition("/")[2] for line in lines if _FOLDER in line}
    return [path for name in sorted(names) if (path := Path(f"/{name}")).exists()]


def delete(path: Path) -> str:
    """Delete it, under each of its names."""
    number = path.stat().st_ino
    for each in path.parent.iterdir():
        if each.stat().st_ino == number:
            each.unlink()
    return "deleted"


def tear(path: Path) -> str:
    """Cut its second half off."""
    os.truncate(path, path.stat().st_size // 2 + 7)
    return "torn"


def garble(path: Path) -> str:
    """Write over a piece in its middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 - 5)
        file.write(os.urandom(100))
    return "garbled"


DAMAGES = (delete, tear, garble)
