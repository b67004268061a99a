"""The turn that waits for word of new work from other processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import psycopg

from service.config import Settings
from service.core.signals import CHANNEL, announce
from service.database import OUT_OF_REACH, Database

if TYPE_CHECKING:
    from psycopg import Connection

_LISTENING_TIME = 5.0
"""Seconds after which the connection is looked after, word or none: a dead one must not be taken
for silence (procrastinate-org/procrastinate#1425)."""


class Listener:
    """Keeps one connection to Postgres that listens; elsewhere there is nothing to hear."""

    def __init__(self, settings: Settings, database: Database, on_word: Callable[[], None]) -> None:
        self._settings = settings
        self._database = database
        self._on_word = on_word
        self._connection: Connection | None = None

    def turn(self) -> float:
        """Listen for a while; return the seconds until it is worth listening again."""
        if self._database.is_sqlite:
            return self._settings.sweep_interval
        try:
            connection = self._connection or self._connect()
            for _ in connection.notifies(timeout=_LISTENING_TIME, stop_after=1):
                self._on_word()
            connection.execute("SELECT 1")
        except psycopg.Error:
            self.close()
            return self._settings.poll_interval
        return 0.0

    def hush(self) -> None:
        """Have the present turn end now: by a word, as all else that ends it is slower."""
        if self._connection is not None:
            with suppress(*OUT_OF_REACH), self._database.writing() as db:
                announce(db)

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> Connection:
        pooled = self._database.engine.raw_connection()
        connection = cast("Connection", pooled.driver_connection)
        # Out of the pool: it listens for as long as the process lives.
        pooled.detach()
        connection.set_autocommit(True)
        connection.execute(f"LISTEN {CHANNEL}")
        self._connection = connection
        return connection
