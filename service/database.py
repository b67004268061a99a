"""The database: one engine, and the two ways of using it, `reading` and `writing`.

SQLite and Postgres carry the same schema and the same statements wherever they can; where a
statement has two forms, the verb in `core` that needs it holds both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from sqlalchemy import CursorResult, Engine, Row, TextClause, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import sessionmaker

from service import dsn, pg, pool
from service.config import MIB, Settings
from service.metrics import meters

OUT_OF_REACH = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""What is raised when the database cannot be used now: it is away, silent, full, read-only, or
others hold what is needed. It passes, so try again later.

InternalError is among them: psycopg raises it where a server takes no writes (SQLSTATE 25006) or
has ended a session that stood still in a transaction (25P03).
"""

_UNDEFINED = frozenset({"42P01", "42703"})
"""How Postgres tells that there is no such table, or column."""

_NO_SUCH = ("no such table", "no such column")
"""How SQLite tells the same."""

_MUCH = 10
"""How many times DATABASE_TIMEOUT a statement may take that changes many rows."""

_AT_ONCE = 500
"""Rows inserted by one statement, of up to 60 columns: SQLite takes 32,766 values."""

CACHE = "crier_cache"
"""The place in a session's `info` for what a process remembers from one transaction to the next."""

LANES = "crier_lanes"
"""The place in a session's `info` for the most lanes of a broadcast; 0: no engine takes jobs."""


def lacks_tables(error: Exception) -> bool:
    """Tell whether a statement failed for want of a table or a column: nobody has migrated."""
    cause = getattr(error, "orig", None)
    return getattr(cause, "sqlstate", "") in _UNDEFINED or str(cause).startswith(_NO_SUCH)


def now_ms() -> int:
    """Return the time as the tables hold it: milliseconds of Unix time, UTC."""
    return time.time_ns() // 1_000_000


def milliseconds(seconds: float) -> int:
    """Convert a span of time as settings give it."""
    return round(seconds * 1000)


def is_postgres(db: Db) -> bool:
    """Tell which form of a statement a session needs."""
    return db.get_bind().dialect.name == "postgresql"


def rowcount(db: Db, statement: TextClause, values: dict[str, Any]) -> int:
    """Carry out a statement; return how many rows it changed."""
    result = cast("CursorResult[Any]", db.execute(statement, values))
    return result.rowcount


def insert_new(db: Db, table: type, rows: list[dict[str, Any]]) -> None:
    """Insert the rows that are not there yet."""
    if rows:
        dialect = postgresql if is_postgres(db) else sqlite
        db.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def insert_missing(
    db: Db, table: type, rows: list[dict[str, Any]], *returned: Any
) -> Sequence[Row[Any]]:
    """Insert the rows that are not there yet; return these columns of each that was new."""
    dialect = postgresql if is_postgres(db) else sqlite
    inserting = dialect.insert(table).on_conflict_do_nothing().returning(*returned)
    found: list[Row[Any]] = []
    for start in range(0, len(rows), _AT_ONCE):
        found += db.execute(inserting.values(rows[start : start + _AT_ONCE])).all()
    return found


class Database:
    """An engine with its sessions; safe to make before a fork, `dispose` it in the child."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.engine = _engine(settings)
        self._reads = sessionmaker(self.engine, expire_on_commit=False)
        self._writes = sessionmaker(
            self.engine.execution_options(crier_writes=True),
            expire_on_commit=False,
            info={
                CACHE: {},
                LANES: settings.lanes if settings.dispatch == "procrastinate" else 0,
            },
        )
        # SQLite has one writer at a time and lets the others poll with growing naps: within a
        # process a lock hands the turn over at once instead.
        self._turn = threading.Lock() if self.is_sqlite else None
        self._timeout = settings.database_timeout

    @property
    def is_sqlite(self) -> bool:
        """Tell whether this is the embedded database."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Db]:
        """Open a session for a look; nothing in it is kept."""
        with self._reads() as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[Db]:
        """Open a transaction: committed at the end of the block, undone by an exception."""
        if self._turn is None:
            with self._writes.begin() as db:
                yield db
        else:
            with self._having(self._turn) as left, self._writes.begin() as db:
                if left < self._timeout:
                    db.connection(execution_options={"crier_timeout": left})
                yield db
        meters.commit(db.info)

    @contextmanager
    def writing_much(self) -> Iterator[Db]:
        """Do the same where one statement may change a million rows: it may take ten times as long.

        A silent server is noticed as late as that, where it was there when the block began.
        """
        with pg.waiting(_MUCH * self._timeout), self.writing() as db:
            yield db

    @contextmanager
    def _having(self, turn: threading.Lock) -> Iterator[float]:
        """Have the turn to write; give what is left of the timeout for the file's own lock.

        Else each of those who wait here would wait a whole timeout more than the one before, where
        a process that stands still holds that lock.
        """
        deadline = time.monotonic() + self._timeout
        left = self._timeout
        if not turn.acquire(blocking=False):
            if not turn.acquire(timeout=self._timeout):
                raise PoolTimeoutError("The other writers of this process have not ended in time.")
            left = max(0.0, deadline - time.monotonic())
        try:
            yield left
        finally:
            turn.release()

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Open a connection past any pooler, whose statements may take as long as they need."""
        direct = self._settings.database_direct_url
        engine = pool.make_engine(direct, self._settings) if direct else self.engine
        writes = engine.execution_options(crier_writes=True)
        with pg.waiting(), writes.connect() as connection:
            yield connection
        if direct:
            engine.dispose()

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pool; with `close=False` in a forked child, whose parent owns the sockets."""
        self.engine.dispose(close=close)


def _engine(settings: Settings) -> Engine:
    """Build the engine of either database."""
    url = settings.database
    is_postgres = dsn.is_postgres(url)
    engine = pool.make_engine(url, settings) if is_postgres else _sqlite(url, settings)
    event.listen(engine, "checkout", meters.connection_taken)
    for end in ("checkin", "detach"):
        event.listen(engine, end, meters.connection_returned)
    return engine


def _sqlite(url: str, settings: Settings) -> Engine:
    """Build an engine on a file in WAL mode whose writers queue up before they begin."""
    named = dsn.sqlite_url(url)
    Path(str(named.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        named,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        # An error must not bring telephone numbers and texts into the log.
        hide_parameters=True,
        pool_timeout=settings.database_timeout,
        connect_args={"timeout": settings.database_timeout, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Set what SQLite forgets between connections.

    `synchronous=FULL`: what was answered 201 survives a power cut, as on Postgres.
    """
    # pysqlite's own transaction handling would begin late and only for some statements.
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
    """Begin as a writer where we shall write.

    A read transaction that turns into a write fails at once with `database is locked` when
    somebody else wrote in between, whatever the busy timeout (SQLITE_BUSY_SNAPSHOT).
    """
    options = connection.get_execution_options()
    begin = "BEGIN IMMEDIATE" if options.get("crier_writes") else "BEGIN"
    if "crier_timeout" not in options:
        connection.exec_driver_sql(begin)
        return
    usual = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(options['crier_timeout'] * 1000)}")
    try:
        connection.exec_driver_sql(begin)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {usual}")
