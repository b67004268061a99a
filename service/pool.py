"""The connection pool for Postgres. Its connections are alive and writable, and come in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from service import pg, waits
from service.config import Settings

WRITES = "crier_writes"
"""The execution option of connections whose transactions write."""

ALONE = "crier_alone"
"""The execution option of connections that write, each statement in a transaction of its own."""

_MOMENT = 0.1
"""Seconds that other threads wait for the thread that tests a silent server. If the server is back,
it answers within this time, and no thread is refused."""

_READ_ONLY = "25006"
"""SQLSTATE read_only_sql_transaction: a standby, or a server with default_transaction_read_only."""


_SET_LOCAL = """
    SELECT set_config(name, value, true)
    FROM unnest(%(names)s::text[], %(values)s::text[]) AS setting(name, value)
"""


class Outage:
    """A circuit breaker: while the server is silent, one thread tests it and others are refused.

    Without it, every thread of a web worker would soon wait for the server.
    """

    def __init__(self) -> None:
        self._is_on = threading.Event()
        self._asking = threading.Lock()

    @contextmanager
    def watching(self, seconds: float) -> Iterator[None]:
        """Watch an attempt to get a connection. It takes `seconds` if the server is silent.

        Raises SilentError if the server is known to be silent and another thread tests it.
        """
        asks = self._take_turn()
        began = monotonic()
        try:
            yield
        except psycopg.Error:
            if monotonic() - began >= seconds / 2:
                self._is_on.set()
            raise
        else:
            self._is_on.clear()
        finally:
            if asks:
                self._asking.release()

    def _take_turn(self) -> bool:
        """Return whether this thread may test the silent server; only one may."""
        if not self._is_on.is_set():
            return False
        if not self._asking.acquire(timeout=_MOMENT):
            raise pg.SilentError
        if self._is_on.is_set():
            return True
        self._asking.release()
        return False


class Pool(QueuePool):
    """A pool that returns a connection within its timeout, checks included, or raises."""

    _sqla_logger_namespace = "sqlalchemy.pool.impl.QueuePool"  # keeps the logger's name

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._outage = Outage()

    def connect(self) -> PoolProxiedConnection:
        """Return a connection that has just answered, or a new one; raises psycopg.Error."""
        seconds = self.timeout()
        with self._outage.watching(seconds), waits.connecting(seconds):
            return super().connect()


class Dialect(PGDialect_psycopg):
    """SQLAlchemy's own, which does not ask a server that has just answered whether it lives."""

    supports_statement_cache = True

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Return whether a connection is alive; raises psycopg.Error."""
        if dbapi_connection.has_just_answered():
            return True
        return bool(super().do_ping(dbapi_connection))  # type: ignore[no-untyped-call]


registry.register("postgresql.crier", __name__, Dialect.__name__)


def make_engine(url: str, settings: Settings) -> Engine:
    """Build the engine for the server of a URL."""
    limits = pg.session_limits(settings)
    engine = create_engine(
        "postgresql+crier://",
        poolclass=Pool,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        # Errors must not put phone numbers and message texts into the log.
        hide_parameters=True,
        pool_timeout=settings.database_timeout,
        pool_recycle=1800,
        pool_pre_ping=True,
        connect_args=pg.connect_parameters(url, settings),
    )

    def do_connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> Any:
        return pg.prepared(parameters, settings)

    def begin(connection: Connection) -> None:
        _begin(connection, limits)

    event.listen(engine, "do_connect", do_connect)
    event.listen(engine, "begin", begin)
    event.listen(engine, "handle_error", _replace_read_only)
    event.listen(engine, "checkin", _keep_no_read_only)
    return engine


def _begin(connection: Connection, limits: dict[str, str]) -> None:
    """Begin a transaction, with the limits that its session does not have.

    What only reads needs neither, nor what is `ALONE`: without a transaction it saves two exchanges
    with the server.
    """
    session: Any = connection.connection.driver_connection
    local = (limits if session.is_pooled else {}) | waits.statement_timeout()
    options = connection.get_execution_options()
    writes_together = options.get(WRITES, False) and not options.get(ALONE, False)
    session.in_transactions(bool(local) or writes_together)
    if local:
        connection.exec_driver_sql(_SET_LOCAL, pg.columns(local))


def _keep_no_read_only(connection: pg.Connection | None, record: ConnectionPoolEntry) -> None:
    """Use a connection that was opened read-only only once: the next may be writable."""
    if connection is not None and connection.is_read_only:
        record.invalidate()


def _replace_read_only(context: ExceptionContext) -> None:
    """Replace all connections when one has become read-only."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True
