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
        "insert or ignore into t values (1)",
        "\n  UPDATE t SET a = 1",
        "DELETE FROM t",
        "REPLACE INTO t VALUES (1)",
        "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE t",
        "-- a reason\nUPDATE t SET a = 1",
        "/* DELETE */ UPDATE t SET a = 1",
        "WITH x AS (SELECT 1) UPDATE t SET a = 1",
        "WITH x AS (SELECT 1)UPDATE t SET a = 1",
        "with x as (select 1), y as (select 2) insert into t select * from y",
        "WITH x (a, b) AS MATERIALIZED (SELECT 1, 2) DELETE FROM t",
        "WITH RECURSIVE x AS (SELECT ((1)) UNION SELECT (a) FROM x) DELETE FROM t",
        "WITH x AS (DELETE FROM t RETURNING id) SELECT * FROM x",
        "WITH x AS (SELECT 1), y AS NOT MATERIALIZED (\n  UPDATE t SET a = 1 RETURNING a) TABLE y",
        "WITH x AS (SELECT 1), y AS (INSERT INTO t TABLE x RETURNING a), z AS (SELECT 2) TABLE y",
        "WITH x AS (WITH y AS (SELECT 1) DELETE FROM t RETURNING id) SELECT * FROM x",
        "WITH x AS (SELECT ')' || '(it''s' /* ( */ -- )\n) UPDATE t SET a = 1",
        'WITH "a ""b" AS (SELECT ")" FROM t) UPDATE t SET a = 1',
        r"WITH x AS (SELECT E'\'(') DELETE FROM t",
        "WITH x AS (SELECT %(one)s, count(*) FROM t WHERE a IN (1, 2)) DELETE FROM t",
        f"WITH x AS (SELECT {'(' * 9}1{')' * 9}) DELETE FROM t",  # noqa: S608 - made up here
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
        "SELECT 'DELETE FROM t'",
        "SELECT delete FROM t",
        "SELECT (a) delete FROM t",
        "SELECT updated_at, update, insert FROM t",
        "SELECT max(update) FROM updates",
        "updates",
        "-- UPDATE t SET a = 1\nSELECT 1",
        "/* ; */ SELECT 1 /* UPDATE t SET a = 1 */",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "WITH x AS (SELECT 1) SELECT (a) delete FROM x",
        "WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE",
        "WITH update AS (SELECT 1) SELECT * FROM update",
        "WITH x AS (SELECT 1), delete AS (SELECT 2) SELECT * FROM delete",
        "WITH delete (update) AS (SELECT 1) SELECT update FROM delete",
        'WITH "update" AS (SELECT 1) SELECT * FROM "update"',
        "WITH x AS (SELECT ') UPDATE t SET a = 1') SELECT * FROM x",
        "WITH x AS (SELECT ', y AS (DELETE FROM t)') SELECT * FROM x",
        'WITH x AS (SELECT ") DELETE FROM t") SELECT * FROM x',
        "WITH x AS (SELECT 1 /* ) DELETE FROM t */) SELECT * FROM x",
        "WITH x AS (SELECT substring(delete FROM 1) FROM t) SELECT * FROM x",
        "WITH x AS (SELECT * FROM f() AS (delete int)) SELECT * FROM x",
        "PRAGMA user_version",
        "SHOW lock_timeout",
        "BEGIN IMMEDIATE",
    ],
)
def test_what_only_reads_is_no_change(statement: str) -> None:
    assert not statements.changes(statement)


def test_a_long_statement_takes_no_time() -> None:
    """It is read once from start to end, whatever it ends with."""
    many = ", ".join(f"q{n} AS (VALUES ('{n}', ({n})))" for n in range(2_000))
    assert not statements.changes(f"WITH {many} TABLE q0")
    assert statements.changes(f"WITH {many} DELETE FROM t")  # noqa: S608 - made up here
    assert not statements.changes(f"WITH x AS (VALUES {'(' * 20_000}")


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
