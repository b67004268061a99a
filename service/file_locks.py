"""Locks of files, which the kernel releases when their process dies."""

from __future__ import annotations

import fcntl
from typing import IO, Any


def take(file: IO[Any]) -> bool:
    """Lock a file that is open, until it is closed; return False if another process has it.

    Raises OSError where a file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
