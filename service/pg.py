"""Postgres: connections that are closed where the server leaves them without an answer.

A server that is stopped, or behind a network that drops packets, closes no connection: a wait for
it ends only if this side limits it. Every wait of this module is limited.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Any, ClassVar, Self, TypeVar

import psycopg
from psycopg.abc import PQGen, PQGenConn
from psycopg.conninfo import conninfo_attempts

from service import dsn
from service.config import Settings

Value = TypeVar("Value")

_INTERVAL = 0.1
"""How often, in seconds, a wait is interrupted to look at the time: psycopg's own interval."""

_MARGIN = 0.5
"""Seconds that an answer may take beyond DATABASE_TIMEOUT: the server itself ends a wait for a
lock after that time, and this side is still there to hear it."""


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
def waiting(seconds: float = inf) -> Iterator[None]:
    """Wait so many seconds for each answer, in this thread: for migrations and the like."""
    before, _limits.patience = _limits.patience, seconds
    try:
        yield
    finally:
        _limits.patience = before


def statement_timeout() -> dict[str, str]:
    """Return the limit of statements that this thread has instead of its session's; or none."""
    if _limits.patience is None:
        return {}
    return {"statement_timeout": "0" if _limits.patience == inf else _ms(_limits.patience)}


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


class Connection(psycopg.Connection[Any]):
    """A connection that is closed, and so counts as lost, when an answer does not come in time."""

    patience = inf
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


def connect(url: str, settings: Settings) -> Connection:
    """Connect to the server that a URL names, in autocommit mode; raises psycopg.Error."""
    with connecting(settings.database_timeout):
        connection = prepared(connect_parameters(url, settings), settings)
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


def prepared(parameters: dict[str, Any], settings: Settings) -> Connection:
    """Connect and prepare the session; raises psycopg.Error."""
    connection = _first_usable(_attempts(parameters))
    connection.patience = settings.database_timeout + _MARGIN
    try:
        _prepare(connection, session_limits(settings))
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
        return inf
    return max(0.0, _limits.connected_by - monotonic())


def session_limits(settings: Settings) -> dict[str, str]:
    """Return what the server is to limit by itself, in milliseconds, and how it writes times.

    A process that stands still in a transaction must not keep its rows for long.
    """
    seconds = settings.database_timeout
    return {
        "lock_timeout": _ms(seconds),
        "statement_timeout": _ms(seconds),
        "idle_in_transaction_session_timeout": _ms(4 * seconds),
        "timezone": "UTC",
    }


_SET = """
    SELECT count(set_config(name, value, false)), current_setting('transaction_read_only') = 'on'
    FROM unnest(%(names)s::text[], %(values)s::text[]) AS setting(name, value)
    WHERE pg_backend_pid() = %(pid)s HAVING pg_backend_pid() = %(pid)s
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
    session = _session(connection, session_limits(settings))
    if await (await connection.execute(_SET, session)).fetchone() is None:
        connection.prepare_threshold = None
    await connection.set_autocommit(False)


def _session(connection: psycopg.BaseConnection[Any], limits: dict[str, str]) -> dict[str, Any]:
    """Return which session is to get which limits: none that the URL gives it otherwise."""
    options = connection.info.get_parameters().get("options", "")
    values = {name: value for name, value in limits.items() if name not in options}
    return columns(values) | {"pid": connection.info.backend_pid}


def columns(values: dict[str, str]) -> dict[str, Any]:
    """Return settings as two arrays, as which they are handed to the server."""
    return {"names": list(values), "values": list(values.values())}
