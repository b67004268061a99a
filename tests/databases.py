"""A migrated Postgres database that one test after the other has to itself, empty."""

from __future__ import annotations

import itertools
import os

import psycopg
from sqlalchemy import make_url

from service.models import Base
from tests import postgres
from tests.connections import kept

# Beyond so many rows the dead ones would slow down whoever comes next.
MOST_ROWS = 1_000

TABLES = [table.name for table in reversed(Base.metadata.sorted_tables)]
# The definitions: rows of these catalogues come, go, or carry a later transaction.
CATALOGUES = ("attribute", "constraint", "index", "proc", "trigger", "sequence")
DEFINED = f"""
SELECT concat_ws(' ', (SELECT string_agg(version_num, ',') FROM alembic_version),
    (SELECT string_agg(concat(relname, reloptions), ',' ORDER BY oid) FROM pg_class
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace),
    (SELECT count(*) FROM pg_db_role_setting),
    {
    ", ".join(
        f"(SELECT concat(count(*), '/', max(xmin::text::int8)) FROM pg_{name})"
        for name in CATALOGUES
    )
})
"""  # noqa: S608 - our own names
FILLED = " UNION ALL ".join(
    f"SELECT '{table}', count(*) FROM {table} HAVING count(*) > 0"  # noqa: S608 - our own names
    for table in TABLES
)
OTHERS = """SELECT count(*), pg_sleep(0.001) FROM pg_stat_activity
            WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)"""


_NUMBERS = itertools.count(1)
"""What names the databases of a process, of all its stocks."""


class Stock:
    """The database of one process that tests: emptied, and made anew where that will not do.

    It stays connected: a new session of the server first reads about every table that it looks at.
    To make a database from the template and to drop it takes the processors 27 ms, to look and to
    empty it 3.
    """

    def __init__(self, admin_url: str, template: str) -> None:
        self._admin_url, self._template = admin_url, template
        self._name, self._url, self._defined = "", "", ""
        self._connection: psycopg.Connection | None = None
        self._is_taken = False

    def take(self) -> str:
        """Return the URL of a database with all tables and no rows; nobody else has it."""
        assert not self._is_taken
        self._is_taken = True
        if self._connection is None:
            self._name = f"crier_{os.getpid()}_{next(_NUMBERS)}"
            self._url = postgres.create_database(self._admin_url, self._name, self._template)
            self._connection = _connect(self._url)
            self._defined = _value(self._connection, DEFINED)
        return self._url

    def give_back(self) -> None:
        """Empty the database; drop it if it is in use, or large, or defined otherwise now."""
        self._is_taken = False
        if not self._is_emptied():
            self.close()

    def close(self) -> None:
        """Drop the database."""
        kept.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            postgres.drop_database(self._admin_url, self._name)

    def _is_emptied(self) -> bool:
        assert self._connection is not None
        try:
            if _is_shared(self._connection) or _value(self._connection, DEFINED) != self._defined:
                return False
            filled: dict[str, int] = dict(self._connection.execute(FILLED).fetchall())
            deletions = ";".join(f"DELETE FROM {table}" for table in filled)  # noqa: S608
            # Several statements cannot be prepared, which psycopg does with what comes often.
            self._connection.execute(deletions, prepare=False)
        except psycopg.Error:
            return False
        return sum(filled.values()) <= MOST_ROWS


def _connect(url: str) -> psycopg.Connection:
    """Connect as little as possible: an engine would ask the server about itself first."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)


def _value(connection: psycopg.Connection, query: str, *values: object) -> str:
    row = connection.execute(query, values or None).fetchone()
    assert row
    return str(row[0])


def _is_shared(connection: psycopg.Connection) -> bool:
    """Tell whether somebody stays connected; sessions that are just ending have their moment."""
    return all(_value(connection, OTHERS, kept.pid) != "0" for _ in range(50))
