"""The database: one engine, and two ways to use it, `reading` and `writing`.

SQLite and Postgres share the schema and nearly all statements. If a statement needs two forms, the
function in `core` that runs it has both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import (
    CursorResult,
    Delete,
    Engine,
    Row,
    Table,
    TextClause,
    create_engine,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import sessionmaker

from service import dsn, pool, statements, waits
from service.config import MIB, Settings
from service.metrics import meters
from service.writer_lock import WriterLock

OUT_OF_REACH = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""The errors of a database that cannot be used now: it is unreachable, silent, full, read-only or
locked. They are temporary, so try again later.

InternalError is one of them: psycopg raises it if a server accepts no writes (SQLSTATE 25006) or
has ended a session that was idle in a transaction (25P03).
"""

_UNDEFINED = frozenset({"42P01", "42703"})
"""Postgres's SQLSTATE codes for a missing table or column."""

_NO_SUCH = ("no such table", "no such column")
"""SQLite's messages for the same errors."""

_MUCH = 10
"""A statement that changes many rows may take this many times DATABASE_TIMEOUT."""

_SHORT = 0.01
"""Seconds of a wait that leaves the usual time for the next one."""

_AT_ONCE = 500
"""Rows or values in one statement, rows of up to 60 columns: SQLite allows 32,766 values."""

CACHE = "crier_cache"
"""The key in a session's `info` for values that a process caches between transactions."""

LANES = "crier_lanes"
"""The key in a session's `info` for the maximum lanes of a broadcast; 0: no engine takes jobs."""


T = TypeVar("T")


def pieces(values: Sequence[T], size: int = _AT_ONCE) -> Iterator[Sequence[T]]:
    """Yield values in pieces of which each fits in a statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def lacks_tables(error: Exception) -> bool:
    """Return whether a statement failed because a table or column is missing."""
    cause = getattr(error, "orig", None)
    return getattr(cause, "sqlstate", "") in _UNDEFINED or str(cause).startswith(_NO_SUCH)


def now_ms() -> int:
    """Return the time as the tables store it: milliseconds of Unix time."""
    return time.time_ns() // 1_000_000


def milliseconds(seconds: float) -> int:
    """Convert a duration from seconds, the unit of settings, to milliseconds."""
    return round(seconds * 1000)


def is_postgres(db: Db) -> bool:
    """Return whether a session is on Postgres."""
    return db.get_bind().dialect.name == "postgresql"


def rowcount(db: Db, statement: TextClause, values: dict[str, Any]) -> int:
    """Execute a statement; return how many rows it changed."""
    result = cast("CursorResult[Any]", db.execute(statement, values))
    return result.rowcount


def changed(db: Db, statement: Delete) -> int:
    """Execute a statement about rows that no session holds; return how many it deleted."""
    done = db.execute(statement.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", done).rowcount


def insert_new(db: Db, table: type, rows: list[dict[str, Any]]) -> None:
    """Insert the rows that do not exist yet."""
    if rows:
        dialect = postgresql if is_postgres(db) else sqlite
        db.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def insert_missing(
    db: Db, table: Table, rows: list[dict[str, Any]], *returned: Any
) -> Sequence[Row[Any]]:
    """Insert the rows that do not exist yet; return the given columns of each new row.

    As several sets of values of one statement, which is compiled once: `values(rows)` would be
    compiled each time.
    """
    dialect = postgresql if is_postgres(db) else sqlite
    inserting = dialect.insert(table).on_conflict_do_nothing().returning(*returned)
    return db.execute(inserting, rows).all() if rows else []


class Database:
    """An engine with its sessions. If it was created before a fork, `dispose` it in the child.

    `writer` is the engine with the same pool whose connections may change something.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.engine = _engine(settings)
        self._reads = sessionmaker(self.engine, expire_on_commit=False)
        self.writer = self.engine.execution_options(**{pool.WRITES: True})
        self._writes = sessionmaker(
            self.writer,
            expire_on_commit=False,
            info={
                CACHE: {},
                LANES: settings.lanes if settings.dispatch == "procrastinate" else 0,
            },
        )
        self._appender = self.writer.execution_options(**{pool.ALONE: True})
        self._lock = WriterLock(_file(settings)) if self.is_sqlite else None
        self._timeout = settings.database_timeout

    @property
    def is_sqlite(self) -> bool:
        """Return whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    def listen(self, listeners: Mapping[str, Callable[..., None]]) -> None:
        """Call functions at events of all writing sessions, by SQLAlchemy's names of events."""
        for name, listener in listeners.items():
            event.listen(self._writes, name, listener)

    @contextmanager
    def reading(self) -> Iterator[Db]:
        """Open a session for reading. On Postgres each statement is a transaction of its own."""
        with self._reads() as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[Db]:
        """Open a transaction: it commits at the end of the block and rolls back on an exception."""
        with self._turn(self._lock) if self._lock else self._writes.begin() as db:
            yield db
        meters.commit(db.info)

    @contextmanager
    def appending(self) -> Iterator[Db]:
        """Open a session for rows that are new and need not be there together.

        On Postgres each statement is a transaction of its own, which saves two exchanges with it.
        """
        if self.is_sqlite:
            with self.writing() as db:
                yield db
        else:
            with self._writes(bind=self._appender) as db, db.begin():
                yield db
            meters.commit(db.info)

    @contextmanager
    def writing_much(self) -> Iterator[Db]:
        """Open a transaction whose statements may take ten times as long, to change a million rows.

        If the server falls silent within the block, that is noticed only after this longer time.
        """
        with waits.waiting(_MUCH * self._timeout), self.writing() as db:
            yield db

    @contextmanager
    def _turn(self, lock: WriterLock) -> Iterator[Db]:
        """Open a transaction of SQLite's one writer."""
        with lock.held(self._timeout) as left, self._writes.begin() as db:
            if left < self._timeout - _SHORT:
                db.connection(execution_options={"crier_timeout": left})
            yield db

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Open a connection without statement timeouts that bypasses any pooler."""
        direct = self._settings.database_direct_url
        engine = pool.make_engine(direct, self._settings) if direct else self.engine
        writes = engine.execution_options(**{pool.WRITES: True})
        with waits.waiting(), writes.connect() as connection:
            yield connection
        if direct:
            engine.dispose()

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pool. Use `close=False` in a forked child: its parent owns the sockets."""
        self.engine.dispose(close=close)


def _engine(settings: Settings) -> Engine:
    """Build the engine for SQLite or Postgres."""
    url = settings.database
    is_postgres = dsn.is_postgres(url)
    engine = pool.make_engine(url, settings) if is_postgres else _sqlite(url, settings)
    event.listen(engine, "before_cursor_execute", _refuse_changes)
    event.listen(engine, "checkout", meters.connection_taken)
    for end in ("checkin", "detach"):
        event.listen(engine, end, meters.connection_returned)
    return engine


def _refuse_changes(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
    """Raise RuntimeError for a statement that changes rows where one may only read."""
    may_change = connection.get_execution_options().get(pool.WRITES)
    if not may_change and statements.changes(statement):
        raise RuntimeError("Change rows with Database.writing.")


def _sqlite(url: str, settings: Settings) -> Engine:
    """Build an engine on a file in WAL mode, whose writers queue before they begin."""
    named = dsn.sqlite_url(url)
    _file(settings).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        named,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        # Errors must not put phone numbers and message texts into the log.
        hide_parameters=True,
        pool_timeout=settings.database_timeout,
        connect_args={"timeout": settings.database_timeout, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _file(settings: Settings) -> Path:
    return Path(str(dsn.sqlite_url(settings.database).database))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Set the options that SQLite keeps only per connection.

    With `synchronous=FULL`, a broadcast answered with 201 survives a power cut, as on Postgres.
    """
    # pysqlite's own transactions begin too late, and only for some statements.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        f"journal_size_limit={64 * MIB}",
        f"cache_size=-{32 * 1024}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin a writing transaction as a writer.

    If a read transaction starts to write after another writer committed, it fails at once with
    `database is locked`, regardless of the busy timeout (SQLITE_BUSY_SNAPSHOT).
    """
    options = connection.get_execution_options()
    begin = "BEGIN IMMEDIATE" if options.get(pool.WRITES) else "BEGIN"
    if "crier_timeout" not in options:
        connection.exec_driver_sql(begin)
        return
    usual = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(options['crier_timeout'] * 1000)}")
    try:
        connection.exec_driver_sql(begin)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {usual}")
