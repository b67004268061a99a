"""The database that is handed from test to test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import NullPool, create_engine, text

from service.config import Settings
from service.core import clients
from service.database import Database
from tests.conftest import TEMPLATE
from tests.databases import MOST_ROWS, Stock

MANY = f"""INSERT INTO clients (id, name, created_at, updated_at, version)
    SELECT n, n, 0, 0, 1 FROM generate_series(1, {MOST_ROWS + 1}) AS n"""  # noqa: S608


@pytest.fixture
def stock(postgres_server: str) -> Iterator[Stock]:
    stock = Stock(postgres_server, TEMPLATE)
    yield stock
    stock.close()


def run(url: str, statement: str) -> int:
    """Run a statement and count the rows that it returns."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        result = connection.execute(text(statement))
        return len(result.all()) if result.returns_rows else 0


def test_it_comes_back_empty(stock: Stock) -> None:
    url = stock.take()
    database = Database(Settings(database_url=url))
    with database.writing() as db:
        clients.create(db, "Acme")
    database.dispose()
    assert run(url, "SELECT id FROM clients") == 1
    stock.give_back()
    assert stock.take() == url
    assert run(url, "SELECT id FROM clients") == 0
    assert run(url, "SELECT version_num FROM alembic_version") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE fruit (name text)",
        "CREATE INDEX fruit ON clients (id, name)",
        "DROP TABLE sent_parts",
        "ALTER TABLE tokens RENAME TO others",
        "ALTER TABLE clients ALTER COLUMN name DROP NOT NULL",
        "ALTER TABLE deliveries SET (autovacuum_vacuum_threshold = 7)",
        "CREATE FUNCTION fruit() RETURNS text AS $$ SELECT 'pear' $$ LANGUAGE sql",
        "DROP TABLE alembic_version",
        "UPDATE alembic_version SET version_num = 'none'",
        f"CREATE TEMPORARY TABLE fruit AS SELECT generate_series(1, {MOST_ROWS})",
        MANY,
    ],
)
def test_one_that_is_not_as_it_was_is_made_anew(stock: Stock, statement: str) -> None:
    url = stock.take()
    run(url, statement)
    stock.give_back()
    assert (stock.take() == url) is ("TEMPORARY" in statement)


def test_one_that_somebody_still_uses_is_made_anew(stock: Stock) -> None:
    url = stock.take()
    with create_engine(url, poolclass=NullPool).connect() as connection:
        connection.execute(text("SELECT 1"))
        stock.give_back()
        assert stock.take() != url
        connection.invalidate()


def test_nobody_shares_one(stock: Stock) -> None:
    stock.take()
    with pytest.raises(AssertionError):
        stock.take()
