"""The connection to Postgres that a test leaves for the next one.

A new session of the server first reads about every table that it looks at. Making one took the
server and the client longer than most tests themselves.
"""

from __future__ import annotations

import os
import select
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy.pool import QueuePool

from service import pg
from service.config import Settings
from service.database import Database

_connect = pg.prepared


class Kept:
    """At most one connection, for whoever connects to the same database in the same way."""

    def __init__(self) -> None:
        self._connection: pg.Connection | None = None
        self._key: object = None

    @property
    def pid(self) -> int:
        """Return the process of the server that is behind it; 0: there is none."""
        return self._connection.info.backend_pid if self._connection else 0

    def connect(self, parameters: dict[str, Any], settings: Settings) -> pg.Connection:
        """Return the connection if it fits and lives, else a new one."""
        connection = self._connection
        if connection is None or self._key != _key(settings):
            return _connect(parameters, settings)
        self._connection = None
        if _is_usable(connection):
            return connection
        connection.close()
        return _connect(parameters, settings)

    def leave(self, database: Database, settings: Settings) -> None:
        """Dispose of a database that nobody uses any more, and keep one of its connections."""
        pool = database.engine.pool
        if isinstance(pool, QueuePool) and not database.is_sqlite and pool.checkedin():
            self.close()
            left = database.engine.raw_connection()
            self._connection, self._key = left.driver_connection, _key(settings)
            left.detach()
        database.dispose()

    def close(self) -> None:
        """Keep nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


kept = Kept()


def keep_one() -> None:
    """Let all databases of this process use what was kept."""
    pg.prepared = kept.connect


def _key(settings: Settings) -> object:
    """Return what two connections have in common of which one can stand for the other."""
    return os.getpid(), settings.database, pg.session_limits(settings)


def _is_usable(connection: pg.Connection) -> bool:
    """Tell whether a connection is in no transaction, and the server has not hung up."""
    if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
        return False
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    return not readable.poll(0)
