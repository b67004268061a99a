"""The statements of SQL in the tests: compiled once in each process that tests, and noted.

SQLAlchemy keeps the compiled ones for each engine, and nearly every test has an engine of its own:
three of five statements were compiled anew, which took a quarter of the processor's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from service import pool
from service.database import Database

_compiled: LRUCache[Any, Any] = LRUCache(2000)


class _Alike:
    """A dialect like all others of its class: what is compiled for one is for the others, too."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Let the engine look for compiled statements where all do."""
        engine.update_execution_options(compiled_cache=_compiled)


class Postgres(_Alike, pool.Dialect):
    supports_statement_cache = True


class Sqlite(_Alike, SQLiteDialect_pysqlite):
    supports_statement_cache = True


def compile_once() -> None:
    """Let all engines that are made from now on share their compiled statements."""
    registry.register("postgresql.crier", __name__, Postgres.__name__)
    registry.register("sqlite", __name__, Sqlite.__name__)


class Statement(NamedTuple):
    """A statement as the database gets it."""

    sql: str
    values: Any


@contextmanager
def noted(database: Database, words: str = "") -> Iterator[list[Statement]]:
    """Give the statements with these words in them that reach a database within the block."""
    found: list[Statement] = []

    def note(_connection: object, _cursor: object, sql: str, values: Any, *_: object) -> None:
        if words in sql:
            found.append(Statement(sql, values))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
