"""Which statements change rows."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from service import statements
from service.database import Database
from service.models import Client


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (1)",
        "INSERT OR IGNORE INTO t VALUES (1)",
        "\n  UPDATE t SET a = 1",
        "UPDATE t AS u SET a = 1",
        'UPDATE "groups" SET a = 1',
        "DELETE FROM t",
        "WITH x AS (SELECT 1)UPDATE t SET a = 1",
        "WITH x AS (SELECT 1), y AS (SELECT 2) INSERT INTO t SELECT * FROM y",
        "WITH x (a, b) AS MATERIALIZED (SELECT 1, 2) DELETE FROM t",
        "WITH x AS (DELETE FROM t RETURNING id) SELECT * FROM x",
        "WITH x AS (SELECT 1), y AS (\n  UPDATE t SET a = 1 RETURNING a) TABLE y",
        "WITH x AS (WITH y AS (SELECT 1) DELETE FROM t RETURNING id) SELECT * FROM x",
    ],
)
def test_a_change_is_found(statement: str) -> None:
    assert statements.changes(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELECT 1",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t FOR NO KEY UPDATE OF t SKIP LOCKED",
        "SELECT updated_at, deleted_at FROM t",
        "SELECT 'delete from t'",
        "WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE",
        "PRAGMA user_version",
        "SET LOCAL lock_timeout = 200",
        "BEGIN IMMEDIATE",
    ],
)
def test_what_only_reads_is_no_change(statement: str) -> None:
    assert not statements.changes(statement)


def test_a_look_changes_nothing_after_a_with(database: Database) -> None:
    few = select(Client.id).cte("few")
    change = update(Client).where(Client.id.in_(select(few.c.id))).values(name="b")
    dialects = (sqlite.dialect(), postgresql.dialect())  # type: ignore[no-untyped-call]
    for dialect in dialects:
        assert str(change.compile(dialect=dialect)).startswith("WITH")
    raw = text("WITH few AS (SELECT id FROM clients) DELETE FROM clients")
    for statement in (change, raw):
        with database.reading() as db, pytest.raises(RuntimeError, match=r"Database\.writing"):
            db.execute(statement)
        with database.writing() as db:
            db.execute(statement)
