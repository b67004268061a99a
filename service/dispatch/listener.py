"""The turn that listens for notifications of new work from other processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psycopg
import structlog

from service import pg
from service.config import Settings
from service.core.signals import CHANNEL, announce
from service.database import OUT_OF_REACH, Database
from service.pg import Connection

log = structlog.get_logger(__name__)

_LISTENING_TIME = 5.0
"""Seconds after which the connection is tested. Without a test, a dead connection looks like
silence (procrastinate-org/procrastinate#1425)."""


class Listener:
    """Keeps one listening connection to Postgres. On SQLite it does nothing."""

    def __init__(self, settings: Settings, database: Database, on_word: Callable[[], None]) -> None:
        self._settings = settings
        self._database = database
        self._on_word = on_word
        self._connection: Connection | None = None
        self._is_deaf = database.is_sqlite

    def turn(self) -> float:
        """Listen for a while; return the seconds to wait before the next turn."""
        if self._is_deaf:
            return self._settings.sweep_interval
        try:
            connection = self._connection or self._connect()
            if connection is None:
                return self._settings.sweep_interval
            for _ in connection.notifies(timeout=_LISTENING_TIME, stop_after=1):
                self._on_word()
            connection.execute("SELECT 1")
        except psycopg.Error:
            self.close()
            return self._settings.poll_interval
        return 0.0

    def hush(self) -> None:
        """End the current turn now, by sending it a notification: that is the fastest way."""
        if self._connection is not None:
            with suppress(*OUT_OF_REACH), self._database.writing() as db:
                announce(db)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> Connection | None:
        """Listen on a connection of its own; None behind a pooler, which drops notifications."""
        url = self._settings.database_direct_url or self._settings.database
        connection = pg.connect(url, self._settings)
        if connection.is_pooled:
            connection.close()
            log.warning("notifications do not pass through a pooler: set DATABASE_DIRECT_URL")
            self._is_deaf = True
            return None
        self._connection = connection
        connection.execute(f"LISTEN {CHANNEL}")
        return connection
