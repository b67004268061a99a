"""Postgres: connections that are closed where the server leaves them without an answer.

A server that is stopped, or behind a network that drops packets, closes no connection: a wait for
it ends only if this side limits it. Every wait of this module is limited.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic
from typing import Any, ClassVar, Self, TypeVar

import psycopg
from psycopg.abc import PQGen, PQGenConn
from psycopg.conninfo import conninfo_attempts
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection as EngineConnection
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from service import dsn
from service.config import Settings

Value = TypeVar("Value")

_INTERVAL = 0.1
"""How often, in seconds, a wait is interrupted to look at the time: psycopg's own interval."""

_MARGIN = 0.5
"""Seconds that an answer may take beyond DATABASE_TIMEOUT: the server itself ends a wait for a
lock after that time, and this side is still there to hear it."""

_MOMENT = 0.1
"""Seconds that others wait for the thread that asks a silent server: if it is back, it answers at
once, and nobody is refused."""

_READ_ONLY = "25006"
"""SQLSTATE read_only_sql_transaction: a standby, or a server with default_transaction_read_only."""


class SilentError(psycopg.OperationalError):
    """The database server has not answered in time."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*(args or (self.__doc__,)), **more)


class _Limits(threading.local):
    """What limits the waits of one thread, besides the patience of its connection."""

    connected_by: float | None = None
    """When a connection must have been made and checked, by the monotonic clock."""

    patience: float | None = None
    """Seconds within which each answer must come, instead of the connection's own patience."""


_limits = _Limits()


@contextmanager
def connecting(seconds: float) -> Iterator[None]:
    """Give all that it takes to get a connection, in this thread, so many seconds."""
    before, _limits.connected_by = _limits.connected_by, monotonic() + seconds
    try:
        yield
    finally:
        _limits.connected_by = before


@contextmanager
def unhurried() -> Iterator[None]:
    """Wait for each answer as long as it takes, in this thread: for migrations and the like."""
    before, _limits.patience = _limits.patience, float("inf")
    try:
        yield
    finally:
        _limits.patience = before


class Connection(psycopg.Connection[Any]):
    """A connection that is closed, and so counts as lost, when an answer does not come in time."""

    patience = float("inf")
    """Seconds within which each answer must come."""

    is_pooled = False
    """Whether a pooler such as PgBouncer gives this connection another session each transaction."""

    is_read_only = False
    """Whether the server took no writes when this connection was opened."""

    def wait(
        self, gen: PQGen[Value], interval: float = _INTERVAL, timeout: float | None = None
    ) -> Value:
        """Wait for an answer; a `timeout` of the caller's own, as for notifications, harms nothing.

        Raises SilentError.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        seconds = self._seconds()
        deadline = monotonic() + seconds
        try:
            return super().wait(gen, interval, seconds)
        except psycopg.OperationalError:
            if monotonic() < deadline:
                raise
            self.close()
            raise SilentError from None

    def _seconds(self) -> float:
        """Return how long to wait for the next answer.

        Of the time that is left to get a connection it has half: if a connection is found to be
        dead, the other half is for a new one.
        """
        if _limits.connected_by is not None:
            return _left() / 2
        return self.patience if _limits.patience is None else _limits.patience

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        """Connect in the time that is left; psycopg counts in whole seconds, two at least."""
        return _ending(super()._connect_gen(conninfo), monotonic() + _left())


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """The same for asyncio, where the thread has no limits of its own."""

    patience: ClassVar[float]

    async def wait(
        self,
        gen: PQGen[Value],
        interval: float = _INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own parameter
    ) -> Value:
        """Wait for an answer, for so long as a caller wants or the patience lasts."""
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        deadline = monotonic() + self.patience
        try:
            return await super().wait(gen, interval, self.patience)
        except psycopg.OperationalError:
            if monotonic() < deadline:
                raise
            await self.close()
            raise SilentError from None

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        return _ending(super()._connect_gen(conninfo), monotonic() + cls.patience)


def async_connection(settings: Settings) -> type[AsyncConnection]:
    """Return the class of connections for a pool of asyncio."""
    patience = settings.database_timeout + _MARGIN
    return type("PatientConnection", (AsyncConnection,), {"patience": patience})


def _ending(gen: PQGenConn[Value], deadline: float) -> PQGenConn[Value]:
    """Pass on what a new connection waits for; at the deadline end it, and close its socket.

    What psycopg itself gives up stays open until garbage is collected: the error that it raises
    refers to the unfinished connection in a circle.
    """
    try:
        state = next(gen)
        while True:
            ready = yield state
            if not ready and monotonic() >= deadline:
                raise SilentError
            state = gen.send(ready)
    except StopIteration as end:
        value: Value = end.value
        return value
    finally:
        gen.close()


class Outage:
    """Whether the server is silent: then one thread at a time asks it, and the others are refused.

    Otherwise every thread of a web worker would soon be waiting for the server.
    """

    def __init__(self) -> None:
        self._is_on = threading.Event()
        self._asking = threading.Lock()

    @contextmanager
    def watching(self, seconds: float) -> Iterator[None]:
        """Watch an attempt to get a connection that takes so many seconds if the server is silent.

        Raises SilentError if it is known to be silent and another thread is asking it.
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
        """Tell whether this thread is the one that asks a silent server; no other may be."""
        if not self._is_on.is_set():
            return False
        if not self._asking.acquire(timeout=_MOMENT):
            raise SilentError
        if self._is_on.is_set():
            return True
        self._asking.release()
        return False


class Pool(QueuePool):
    """A pool that gives a connection within its timeout, with all that this takes, or none."""

    _sqla_logger_namespace = "sqlalchemy.pool.impl.QueuePool"  # its logs are named as before

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._outage = Outage()

    def connect(self) -> PoolProxiedConnection:
        """Return a connection that has answered just now, or is new; raises psycopg.Error."""
        seconds = self.timeout()
        with self._outage.watching(seconds), connecting(seconds):
            return super().connect()


def make_engine(url: str, settings: Settings) -> Engine:
    """Build the engine for the server that a URL names."""
    limits = _session_limits(settings)
    engine = create_engine(
        "postgresql+psycopg://",
        poolclass=Pool,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        # An error must not bring telephone numbers and texts into the log.
        hide_parameters=True,
        pool_timeout=settings.database_timeout,
        pool_recycle=1800,
        pool_pre_ping=True,
        connect_args=connect_parameters(url, settings),
    )

    def do_connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> Any:
        return _connect(parameters, settings)

    def begin(connection: EngineConnection) -> None:
        _limit(connection, limits)

    event.listen(engine, "do_connect", do_connect)
    event.listen(engine, "begin", begin)
    event.listen(engine, "handle_error", _replace_read_only)
    event.listen(engine, "checkin", _keep_no_read_only)
    return engine


def connect(url: str, settings: Settings) -> Connection:
    """Connect to the server that a URL names, in autocommit mode; raises psycopg.Error."""
    with connecting(settings.database_timeout):
        connection = _connect(connect_parameters(url, settings), settings)
    connection.autocommit = True
    return connection


def connect_parameters(url: str, settings: Settings) -> dict[str, Any]:
    """Return how libpq is to connect; what the URL says has the last word."""
    return {
        "application_name": "crier",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": round(settings.database_timeout * 2000),
    } | dsn.libpq_parameters(url)


def _connect(parameters: dict[str, Any], settings: Settings) -> Connection:
    """Connect and prepare the session; raises psycopg.Error."""
    connection = _first_usable(_attempts(parameters))
    connection.patience = settings.database_timeout + _MARGIN
    try:
        _prepare(connection, _session_limits(settings))
    except BaseException:
        connection.close()
        raise
    return connection


def _attempts(parameters: dict[str, Any]) -> list[Any]:
    """Return the parameters for each address of each host; raises psycopg.OperationalError.

    The names are looked up in another thread, as nothing can end a wait for a silent name server.
    """
    answer: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            answer.set_result(conninfo_attempts(parameters))
        except psycopg.Error as error:
            answer.set_exception(error)

    threading.Thread(target=look_up, name="crier-resolver", daemon=True).start()
    try:
        return answer.result(_left())
    except TimeoutError:
        raise SilentError("The name server has not answered in time.") from None


def _first_usable(attempts: list[Any]) -> Connection:
    """Connect to the first address that is as asked for; each has an equal share of the time."""
    failures: list[str] = []
    for number, attempt in enumerate(attempts):
        try:
            with connecting(_left() / (len(attempts) - number)):
                return Connection.connect(**attempt)
        except psycopg.Error as error:
            if len(attempts) == 1:
                raise
            failures.append(f"{attempt.get('host')}: {error}")
    raise psycopg.OperationalError("No host can be used. " + " ".join(failures))


def _left() -> float:
    """Return the seconds that are left to this thread to get a connection."""
    if _limits.connected_by is None:
        return float("inf")
    return max(0.0, _limits.connected_by - monotonic())


def _session_limits(settings: Settings) -> dict[str, str]:
    """Return what the server is to limit by itself, in milliseconds, and how it writes times.

    A process that stands still in a transaction must not keep its rows for long.
    """
    milliseconds = round(settings.database_timeout * 1000)
    return {
        "lock_timeout": str(milliseconds),
        "statement_timeout": str(milliseconds),
        "idle_in_transaction_session_timeout": str(4 * milliseconds),
        "timezone": "UTC",
    }


_SET = """
    SELECT count(set_config(name, value, false)), current_setting('transaction_read_only') = 'on'
    FROM unnest(%(names)s::text[], %(values)s::text[]) AS setting(name, value)
    WHERE pg_backend_pid() = %(pid)s HAVING pg_backend_pid() = %(pid)s
"""
_SET_LOCAL = """
    SELECT set_config(name, value, true)
    FROM unnest(%(names)s::text[], %(values)s::text[]) AS setting(name, value)
"""


def _prepare(connection: Connection, limits: dict[str, str]) -> None:
    """Give a session its limits, or find that it is none of ours alone.

    A pooler gives each transaction another session, and names none of them when one connects.
    There limits hold for a transaction, and what was prepared in another session is not there.
    """
    connection.autocommit = True
    found = connection.execute(_SET, _session(connection, limits)).fetchone()
    connection.autocommit = False
    if found is None:
        connection.is_pooled = True
        connection.prepare_threshold = None
    else:
        connection.is_read_only = found[1]


async def prepare(connection: AsyncConnection, settings: Settings) -> None:
    """Do the same for a connection of asyncio; behind a pooler it is left without limits."""
    await connection.set_autocommit(True)
    session = _session(connection, _session_limits(settings))
    if await (await connection.execute(_SET, session)).fetchone() is None:
        connection.prepare_threshold = None
    await connection.set_autocommit(False)


def _session(connection: psycopg.BaseConnection[Any], limits: dict[str, str]) -> dict[str, Any]:
    """Return which session is to get which limits: none that the URL gives it otherwise."""
    options = connection.info.get_parameters().get("options", "")
    values = {name: value for name, value in limits.items() if name not in options}
    return _columns(values) | {"pid": connection.info.backend_pid}


def _limit(connection: EngineConnection, limits: dict[str, str]) -> None:
    """Give a transaction its limits where its session does not have them."""
    session: Any = connection.connection.driver_connection
    local = limits if session.is_pooled else {}
    if _limits.patience is not None:
        local = local | {"statement_timeout": "0"}
    if local:
        connection.exec_driver_sql(_SET_LOCAL, _columns(local))


def _columns(values: dict[str, str]) -> dict[str, Any]:
    return {"names": list(values), "values": list(values.values())}


def _keep_no_read_only(connection: Connection | None, record: ConnectionPoolEntry) -> None:
    """Have a connection that was opened read-only used once: the next one may take writes."""
    if connection is not None and connection.is_read_only:
        record.invalidate()


def _replace_read_only(context: ExceptionContext) -> None:
    """Have all connections replaced when one turns out to take no writes any more."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True
