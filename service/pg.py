"""Postgres connections that close when the server does not answer in time.

A stopped server closes no connection, and neither does a network that drops packets. Only the
client can end a wait for them. Every wait in this module has a limit.
"""

from __future__ import annotations

import select
import threading
from concurrent.futures import Future
from math import inf
from time import monotonic
from typing import Any, ClassVar, Self, TypeVar

import psycopg
from psycopg.abc import PQGen, PQGenConn
from psycopg.conninfo import conninfo_attempts

from service import dsn, waits
from service.config import Settings

Value = TypeVar("Value")

_INTERVAL = 0.1
"""Seconds between two checks of the clock during a wait: psycopg's own interval."""

_FRESH = 1.0
"""Seconds after an answer for which a connection counts as alive."""

_MARGIN = 0.5
"""Seconds that an answer may take beyond DATABASE_TIMEOUT. The server ends a lock wait after
DATABASE_TIMEOUT, and the client must still be there to receive the error."""


class SilentError(psycopg.OperationalError):
    """The database server did not answer in time."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*(args or (self.__doc__,)), **more)


class Connection(psycopg.Connection[Any]):
    """A connection that closes, and so counts as lost, when an answer is late."""

    patience = inf
    """Maximum seconds for each answer."""

    is_pooled = False
    """Whether a pooler such as PgBouncer changes this connection's session between transactions."""

    is_read_only = False
    """Whether the server was read-only when this connection was opened."""

    answered_at = -inf
    """The monotonic time of the last answer."""

    def wait(
        self, gen: PQGen[Value], interval: float = _INTERVAL, timeout: float | None = None
    ) -> Value:
        """Wait for an answer; raises SilentError.

        If the caller sets a `timeout`, as for notifications, the connection survives it.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        seconds = waits.patience(self.patience)
        deadline = monotonic() + seconds
        try:
            value = super().wait(gen, interval, seconds)
        except psycopg.OperationalError:
            if monotonic() < deadline:
                raise
            self.close()
            raise SilentError from None
        self.answered_at = monotonic()
        return value

    def has_just_answered(self) -> bool:
        """Return whether the server answered within the last second and has not hung up since.

        An idle connection has nothing to read, except the end of the connection.
        """
        if monotonic() > self.answered_at + _FRESH:
            return False
        readable = select.poll()
        readable.register(self.fileno(), select.POLLIN)
        return not readable.poll(0)

    def in_transactions(self, wanted: bool) -> None:  # noqa: FBT001 - nothing else is asked
        """Have statements belong to a transaction, or be one each."""
        if self.autocommit == wanted:
            self.autocommit = not wanted

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        """Connect in the time that is left; psycopg allows only whole seconds, at least two."""
        return _ending(super()._connect_gen(conninfo), monotonic() + waits.left())


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """The same for asyncio, without limits per thread."""

    patience: ClassVar[float]

    async def wait(
        self,
        gen: PQGen[Value],
        interval: float = _INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own parameter
    ) -> Value:
        """Wait for an answer until the caller's timeout or the patience ends."""
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
    """Return the connection class for an asyncio pool."""
    patience = settings.database_timeout + _MARGIN
    return type("PatientConnection", (AsyncConnection,), {"patience": patience})


def _ending(gen: PQGenConn[Value], deadline: float) -> PQGenConn[Value]:
    """Run the steps of a new connection until the deadline, then close its socket.

    When psycopg itself gives up, the socket stays open until garbage collection: its error and the
    unfinished connection refer to each other.
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
    """Connect to the server of a URL, in autocommit mode; raises psycopg.Error."""
    with waits.connecting(settings.database_timeout):
        connection = prepared(connect_parameters(url, settings), settings)
    connection.autocommit = True
    return connection


def connect_parameters(url: str, settings: Settings) -> dict[str, Any]:
    """Return libpq's connection parameters; parameters in the URL take precedence."""
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

    A separate thread resolves the names, because a wait for a silent name server cannot be ended.
    """
    answer: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            answer.set_result(conninfo_attempts(parameters))
        except psycopg.Error as error:
            answer.set_exception(error)

    threading.Thread(target=look_up, name="crier-resolver", daemon=True).start()
    try:
        return answer.result(waits.left())
    except TimeoutError:
        raise SilentError("The name server did not answer in time.") from None


def _first_usable(attempts: list[Any]) -> Connection:
    """Connect to the first suitable address; each gets an equal share of the time."""
    failures: list[str] = []
    for number, attempt in enumerate(attempts):
        try:
            with waits.connecting(waits.left() / (len(attempts) - number)):
                return Connection.connect(**attempt)
        except psycopg.Error as error:
            if len(attempts) == 1:
                raise
            failures.append(f"{attempt.get('host')}: {error}")
    raise psycopg.OperationalError("No database host is usable. " + " ".join(failures))


def session_limits(settings: Settings) -> dict[str, str]:
    """Return the session settings: the server's own time limits, and UTC as its time zone.

    A process that stalls in a transaction must not hold its row locks for long.
    """
    seconds = settings.database_timeout
    return {
        "lock_timeout": waits.milliseconds(seconds),
        "statement_timeout": waits.milliseconds(seconds),
        "idle_in_transaction_session_timeout": waits.milliseconds(4 * seconds),
        "timezone": "UTC",
    }


_SET = """
    SELECT count(set_config(name, value, false)), current_setting('transaction_read_only') = 'on'
    FROM unnest(%(names)s::text[], %(values)s::text[]) AS setting(name, value)
    WHERE pg_backend_pid() = %(pid)s HAVING pg_backend_pid() = %(pid)s
"""


def _prepare(connection: Connection, limits: dict[str, str]) -> None:
    """Set the limits of a session, or find that the connection is behind a pooler.

    A pooler uses a different session for each transaction, and its own process id at connection.
    Limits then apply to one transaction, and prepared statements are not available.
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
    """Set the limits of an asyncio connection; behind a pooler it has none."""
    await connection.set_autocommit(True)
    session = _session(connection, session_limits(settings))
    if await (await connection.execute(_SET, session)).fetchone() is None:
        connection.prepare_threshold = None
    await connection.set_autocommit(False)


def _session(connection: psycopg.BaseConnection[Any], limits: dict[str, str]) -> dict[str, Any]:
    """Return the process id and the limits to set, without those that the URL already sets."""
    options = connection.info.get_parameters().get("options", "")
    values = {name: value for name, value in limits.items() if name not in options}
    return columns(values) | {"pid": connection.info.backend_pid}


def columns(values: dict[str, str]) -> dict[str, Any]:
    """Return settings as two arrays, the form in which the statement takes them."""
    return {"names": list(values), "values": list(values.values())}
