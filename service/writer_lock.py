"""The lock of SQLite's one writer, for all threads and processes of a machine, each in its turn.

SQLite lets writers poll with growing delays, so a process that writes without a pause keeps the
others out for seconds. Here a process that waits is the next one: it holds a second lock, which
everybody needs before the lock of the writer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service import file_locks

_GLANCE: Final = 0.001
_LATE: Final = "Other writers did not finish in time."


class WriterLock:
    """Two locked files beside a database, and a lock of this process before them."""

    def __init__(self, database: Path) -> None:
        self._next, self._writer = (
            database.with_name(f"{database.name}-{name}") for name in ("next", "writer")
        )
        self._process = threading.Lock()

    @contextmanager
    def held(self, timeout: float) -> Iterator[float]:
        """Hold the lock; yield the seconds that are left of `timeout`. Raises PoolTimeoutError.

        Without this budget, waits would add up if a stalled process held the lock: each thread
        would wait a full timeout longer than the one before.
        """
        deadline = time.monotonic() + timeout
        if not self._process.acquire(timeout=timeout):
            raise PoolTimeoutError(_LATE)
        try:
            with ExitStack() as locks:
                with _locked(self._next, deadline):
                    locks.enter_context(_locked(self._writer, deadline))
                yield max(0.0, deadline - time.monotonic())
        finally:
            self._process.release()


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Hold a file's lock. It is opened anew each time: processes that fork would share the lock."""
    try:
        file = path.open("a")
    except OSError:  # a folder or disk that cannot be written: SQLite says so
        yield
        return
    with file:
        while not _is_ours(file):
            if time.monotonic() > deadline:
                raise PoolTimeoutError(_LATE)
            time.sleep(_GLANCE)
        yield


def _is_ours(file: IO[str]) -> bool:
    try:
        return file_locks.take(file)
    except OSError:  # a file system without locks
        return True
