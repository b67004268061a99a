"""The database: one engine, and the two ways of using it, `reading` and `writing`.

SQLite and Postgres carry the same schema and the same statements wherever they can; where a
statement has two forms, the verb in `core` that needs it holds both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from sqlalchemy import CursorResult, Engine, TextClause, create_engine, event, make_url
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from service.config import MIB, Settings
from service.metrics import meters

OUT_OF_REACH = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""What is raised when the database is away, full or held by others: it passes. InternalError is
how psycopg tells that the server ended a session for its own reasons (SQLSTATE 25P03, 25006)."""

LANES = "crier_lanes"
"""The place in a session's `info` for the most lanes of a broadcast; 0: no engine takes jobs."""


def now_ms() -> int:
    """Return the time as the tables hold it: milliseconds of Unix time, UTC."""
    return time.time_ns() // 1_000_000


def milliseconds(seconds: float) -> int:
    """Convert a span of time as settings give it."""
    return round(seconds * 1000)


def is_postgres(db: Session) -> bool:
    """Tell which form of a statement a session needs."""
    return db.get_bind().dialect.name == "postgresql"


def rowcount(db: Session, statement: TextClause, values: dict[str, Any]) -> int:
    """Carry out a statement; return how many rows it changed."""
    result = cast("CursorResult[Any]", db.execute(statement, values))
    return result.rowcount


class Database:
    """An engine with its sessions; safe to make before a fork, `dispose` it in the child."""

    def __init__(self, settings: Settings) -> None:
        self.url: URL = make_url(settings.database)
        self.engine = _engine(self.url, settings)
        self._reads = sessionmaker(self.engine, expire_on_commit=False)
        self._writes = sessionmaker(
            self.engine.execution_options(crier_writes=True),
            expire_on_commit=False,
            info={LANES: settings.lanes if settings.dispatch == "procrastinate" else 0},
        )
        # SQLite has one writer at a time and lets the others poll with growing naps: within a
        # process a lock hands the turn over at once instead.
        self._turn = threading.Lock() if self.is_sqlite else None
        self._timeout = settings.database_timeout

    @property
    def is_sqlite(self) -> bool:
        """Tell whether this is the embedded database."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session for a look; nothing in it is kept."""
        with self._reads() as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[Session]:
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

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pool; with `close=False` in a forked child, whose parent owns the sockets."""
        self.engine.dispose(close=close)


def _engine(url: URL, settings: Settings) -> Engine:
    """Build the engine of either database."""
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = _sqlite(url, settings) if is_sqlite else _postgres(url, settings)
    event.listen(engine, "checkout", meters.connection_taken)
    for end in ("checkin", "detach"):
        event.listen(engine, end, meters.connection_returned)
    return engine


def _postgres(url: URL, settings: Settings) -> Engine:
    """Build an engine that notices a dead peer instead of waiting for it for hours."""
    seconds = settings.database_timeout
    return create_engine(
        url,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        # An error must not bring telephone numbers and texts into the log.
        hide_parameters=True,
        pool_timeout=seconds,
        pool_recycle=1800,
        pool_pre_ping=True,
        connect_args=connect_args(settings),
    )


def connect_args(settings: Settings) -> dict[str, Any]:
    """Return how libpq is to connect to Postgres, besides the URL."""
    seconds = settings.database_timeout
    return {
        "connect_timeout": max(2, round(seconds)),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": round(seconds * 2000),
        "application_name": "crier",
        # A process that stands still in a transaction must not keep its rows for long.
        "options": f"-c lock_timeout={round(seconds * 1000)} -c timezone=UTC"
        f" -c idle_in_transaction_session_timeout={round(seconds * 4000)}",
    }


def _sqlite(url: URL, settings: Settings) -> Engine:
    """Build an engine on a file in WAL mode whose writers queue up before they begin."""
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
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
