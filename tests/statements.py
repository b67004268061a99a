"""The statements of all tests, compiled once in each process that tests.

SQLAlchemy keeps them for each engine, and nearly every test has an engine of its own: three of five
statements were compiled anew, which took a quarter of the processor's time.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from service import pool

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
