"""The turn that listens for signals of other processes."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import psycopg
import structlog

from service import ids, pg
from service.config import Settings
from service.core.signals import CHANNEL, Signal, announce
from service.database import OUT_OF_REACH, Database
from service.pg import Connection

log = structlog.get_logger(__name__)

_LISTENING_TIME: Final = 5.0
"""Seconds after which the connection is tested. Without a test, a dead connection looks like
silence (procrastinate-org/procrastinate#1425)."""

_FORGOTTEN: Final = 86_400.0
"""Seconds of silence after which a pipe without a reader is removed."""

_PIECE: Final = 4096


class _Source(Protocol):
    """Where signals come from."""

    def hear(self) -> str:
        """Wait for a while; return the signals that arrived."""

    def hush(self) -> None:
        """End the wait, from another thread."""

    def close(self) -> None:
        """Stop listening."""


class Listener:
    """Listens on its own connection to Postgres, or if that is impossible, on a named pipe.

    `on_signal` is called for each signal, once for several of a kind.
    """

    def __init__(
        self, settings: Settings, database: Database, on_signal: Callable[[Signal], None]
    ) -> None:
        self._settings = settings
        self._database = database
        self._on_signal = on_signal
        self._source: _Source | None = None
        self._hears_postgres = not database.is_sqlite

    def turn(self) -> float:
        """Listen for a while; return the seconds to wait before the next turn."""
        try:
            self._source = self._source or self._open()
            heard = self._source.hear()
        except (psycopg.Error, OSError):
            self.close()
            return self._settings.poll_interval
        for signal in Signal:
            if signal in heard:
                self._on_signal(signal)
        return 0.0

    def hush(self) -> None:
        """End the current turn now."""
        if self._source is not None:
            self._source.hush()

    def close(self) -> None:
        """Stop listening."""
        if self._source is not None:
            self._source.close()
        self._source = None

    def _open(self) -> _Source:
        """Open the source of signals that works here: a pooler drops notifications."""
        if self._hears_postgres:
            url = self._settings.database_direct_url or self._settings.database
            connection = pg.connect(url, self._settings)
            if not connection.is_pooled:
                return _Notifications(connection, self._database)
            connection.close()
            log.warning("notifications do not pass through a pooler: set DATABASE_DIRECT_URL")
            self._hears_postgres = False
        return _NamedPipe(self._settings.signals_dir)


class _Notifications:
    """The notifications of Postgres."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection = connection
        self._database = database
        connection.execute(f"LISTEN {CHANNEL}")

    def hear(self) -> str:
        """Return the first notification, empty after a while without any; raises psycopg.Error."""
        heard = list(self._connection.notifies(timeout=_LISTENING_TIME, stop_after=1))
        self._connection.execute("SELECT 1")
        # Processes of earlier versions say nothing more.
        return "".join(each.payload or Signal.WORK for each in heard)

    def hush(self) -> None:
        """Send a notification to this connection, the fastest way to end the wait."""
        with suppress(*OUT_OF_REACH), self._database.writing() as db:
            announce(db)

    def close(self) -> None:
        self._connection.close()


class _NamedPipe:
    """A named pipe of this process, into which other processes of this machine write."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for forgotten in _forgotten(folder):
            forgotten.unlink(missing_ok=True)
        self._path = folder / ids.new()
        os.mkfifo(self._path, 0o600)
        # Also for writing: without any writer, a pipe is always at its end.
        self._number = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)

    def hear(self) -> str:
        """Return all signals that have come, empty after a while without any; raises OSError."""
        if not select.select([self._number], [], [], _LISTENING_TIME)[0]:
            return ""
        return os.read(self._number, _PIECE).decode()

    def hush(self) -> None:
        with suppress(OSError):
            os.write(self._number, b"\n")

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._number)


def _forgotten(folder: Path) -> Iterator[Path]:
    """Yield the pipes of dispatchers that were killed.

    One without a reader here may be read on another machine, if the folder is shared.
    """
    for path in folder.iterdir():
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _FORGOTTEN:
                    yield path
