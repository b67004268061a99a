"""The migrations make what the models say, on both databases."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, text

from service import parts
from service.config import Settings
from service.core import usages, waiting
from service.database import Database
from service.dsn import is_postgres
from service.models import FOREVER, Base, Contact, Usage
from tests import postgres
from tests.conftest import on_postgres

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = ScriptDirectory(str(ROOT / "migrations"))
REVISIONS = list(reversed([script.revision for script in SCRIPTS.walk_revisions()]))


def test_the_service_knows_its_migrations_without_asking_alembic() -> None:
    assert list(parts.migrations()) == REVISIONS


def drift(connection: Connection) -> list[object]:
    """Return what would have to be migrated to come to the models."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, Base.metadata))


def migrate(database: Database, revision: str, *, down: bool = False) -> None:
    config = Config(ROOT / "alembic.ini")
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


# SQLite has no such setting.
@on_postgres
def test_no_migration_waits_long_for_a_lock_and_no_later_query_hastens(
    empty: Database, settings: Settings
) -> None:
    waits: list[str] = []

    def note(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("INSERT INTO alembic_version", "UPDATE alembic_version")):
            driver: Any = connection.connection.driver_connection
            waits.append(driver.execute("SHOW lock_timeout").fetchone()[0])

    event.listen(empty.engine, "before_cursor_execute", note)
    migrate(empty, "head")
    assert waits == ["1s"] * len(REVISIONS)
    with empty.engine.connect() as connection:
        patience = f"{settings.database_timeout / 60:.0f}min"
        assert connection.scalar(text("SHOW lock_timeout")) == patience


@pytest.fixture
def empty(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Return a database without any table of ours."""
    if is_postgres(settings.database):
        server, name = request.getfixturevalue("postgres_server"), f"crier_empty_{os.getpid()}"
        url = postgres.create_database(server, name)
        database = Database(replace(settings, database_url=url))
        yield database
        database.dispose()
        postgres.drop_database(server, name)
        return
    (settings.data_dir / "crier.db").unlink()
    database = Database(settings)
    yield database
    database.dispose()


def tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_the_migrations_make_what_the_models_say(database: Database) -> None:
    with database.engine.connect() as connection:
        assert drift(connection) == []


def test_every_migration_can_be_undone_and_made_again(empty: Database) -> None:
    assert tables(empty) == set()
    for revision in REVISIONS:
        migrate(empty, revision)
        migrate(empty, "-1", down=True)
        migrate(empty, revision)
    with empty.engine.connect() as connection:
        assert drift(connection) == []


def test_no_migration_makes_a_table_anew_with_which_all_that_hangs_on_it_would_go() -> None:
    for script in SCRIPTS.walk_revisions():
        assert "batch_alter_table" not in Path(script.path).read_text(), script.revision


def columns(database: Database) -> set[tuple[str, str, str]]:
    """Return all columns as table, name and type."""
    with database.engine.connect() as connection:
        inspector = inspect(connection)
        return {
            (table, each["name"], str(each["type"]))
            for table in inspector.get_table_names()
            for each in inspector.get_columns(table)
        }


# Postgres alone changes the type of a column.
@on_postgres
def test_operators_are_told_of_each_migration_beside_which_older_processes_fail(
    empty: Database,
) -> None:
    before, taking = columns(empty), []
    for revision in REVISIONS:
        migrate(empty, revision)
        after = columns(empty)
        if before - after:
            taking.append(revision)
        before = after
    upgrade = (ROOT / "docs" / "operating.md").read_text().partition("## Upgrade")[2]
    told = re.findall(r"`(\d{4}_\w+)`", upgrade.partition("\n## ")[0])
    assert sorted(told) == taking


HELD = [("blocked", "Unpaid.", None), ("ready", None, None), ("throttled", "Slow.", 2**42)]


def test_what_held_a_session_before_holds_it_afterwards(empty: Database) -> None:
    migrate(empty, "0002_keep_receipts")
    with empty.writing() as db:
        db.execute(_CLIENT, {"id": "c" * 24})
        for number, (status, reason, until) in enumerate(HELD):
            values: dict[str, object] = {"client": "c" * 24, "name": str(number)}
            values |= {"id": f"{number:024}", "status": status, "reason": reason, "until": until}
            db.execute(_SESSION, values)
    migrate(empty, "0003_one_moment_per_hold")
    with empty.reading() as db:
        held = db.execute(text("SELECT held_until, hold_reason FROM sessions ORDER BY id")).all()
    assert [tuple(row) for row in held] == [(FOREVER, "Unpaid."), (0, None), (2**42, "Slow.")]
    migrate(empty, "-1", down=True)
    with empty.reading() as db:
        before = db.execute(text("SELECT status, reason, held_until FROM sessions ORDER BY id"))
        assert [tuple(row) for row in before] == HELD


_CLIENT = text("""
    INSERT INTO clients (id, name, created_at, updated_at, version) VALUES (:id, 'x', 0, 0, 0)
""")
_SESSION = text("""
    INSERT INTO sessions (id, client_id, name, channel, settings, secrets, on_uncertain, is_default,
        status, reason, held_until, paced_until, created_at, updated_at, version)
    VALUES (:id, :client, :name, 'sandbox', '{}', '', 'hold', FALSE,
        :status, :reason, :until, 0, 0, 0, 0)
""")


def test_the_token_of_a_session_is_one_of_the_tokens_afterwards(empty: Database) -> None:
    migrate(empty, BEFORE_TOKENS)
    with empty.writing() as db:
        db.execute(_CLIENT, {"id": "c" * 24})
        for number, digest in enumerate(("a" * 64, None)):
            values = {"id": f"{number:024}", "client": "c" * 24, "digest": digest}
            db.execute(_SESSION_WITH_TOKEN, values | {"name": str(number)})
    migrate(empty, TOKENS)
    with empty.reading() as db:
        kept = db.execute(text("SELECT session_id, digest, scopes, expires_at FROM tokens")).all()
    assert [tuple(row) for row in kept] == [("0" * 24, "a" * 64, "", None)]
    migrate(empty, "-1", down=True)
    with empty.reading() as db:
        digests = db.scalars(text("SELECT token_digest FROM sessions ORDER BY id")).all()
        assert digests == ["a" * 64, None]
        assert db.scalar(text("SELECT count(*) FROM tokens")) == 0


TOKENS = next(each for each in REVISIONS if each.endswith("_list_tokens"))
BEFORE_TOKENS = REVISIONS[REVISIONS.index(TOKENS) - 1]
_SESSION_WITH_TOKEN = text("""
    INSERT INTO sessions (id, client_id, name, channel, settings, secrets, on_uncertain, is_default,
        token_digest, paced_until, created_at, updated_at, version)
    VALUES (:id, :client, :name, 'sandbox', '{}', '', 'hold', FALSE, :digest, 0, 0, 0, 0)
""")


def test_how_messages_are_charged_is_not_lost_with_the_column_that_told_it(
    empty: Database,
) -> None:
    migrate(empty, "0030_limit_days")
    with empty.writing() as db:
        db.execute(_CLIENT, {"id": "c" * 24})
        db.execute(_A_SESSION, {"id": "a" * 24, "client": "c" * 24})
        for number, pricing in enumerate(('PMP regular "é" billable', None)):
            values = {"id": f"{number:024}", "session": "a" * 24, "pricing": pricing}
            db.execute(_WAITING, values)
    migrate(empty, "head")
    with empty.writing() as db:
        charged, plain = waiting.take(db, "a" * 24, 10, now=1)
    assert charged == plain._replace(pricing='PMP regular "é" billable')
    assert (plain.pricing, plain.kind, plain.wait) == (None, "blocked", 2.5)


_A_SESSION = text("""
    INSERT INTO sessions (id, client_id, name, channel, settings, secrets, on_uncertain, is_default,
        paced_until, created_at, updated_at, version)
    VALUES (:id, :client, 'x', 'sandbox', '{}', '', 'hold', FALSE, 0, 0, 0, 0)
""")
_WAITING = text("""
    INSERT INTO waiting_receipts (id, session_id, received_at, due_at, delivery_id, part,
        message_id, recipients, state, kind, wait, code, reason, opted_out, pricing)
    VALUES (:id, :session, 0, 0, NULL, NULL,
        'wamid.1', '12025550110', 'failed', 'blocked', 2.5, '1', 'Unpaid.', FALSE, :pricing)
""")


_CONTACT = text("""
    INSERT INTO contacts (id, client_id, name, phones, emails, organisation, channel, tags,
        created_at, updated_at, version)
    VALUES (:id, :client_id, 'Grace Höpper', '["12025550110"]', '[]', '', NULL, '["a"]', 0, 0, 0)
""")
_ATTACHMENT = text("""
    INSERT INTO attachments (id, client_id, type, mimetype, name, filename, size,
        created_at, updated_at, version)
    VALUES (:id, :client_id, 'txt', 'text/plain', 'A', 'a.txt', 1000, 0, 0, 0)
""")


def test_what_clients_have_stored_before_counts_for_their_limits(empty: Database) -> None:
    migrate(empty, "0024_wait_for_templates")
    with empty.writing() as db:
        db.execute(_CLIENT, {"id": "c" * 24})
        for number in range(2):
            db.execute(_CONTACT, {"id": f"{number:024}", "client_id": "c" * 24})
        db.execute(_ATTACHMENT, {"id": "a" * 24, "client_id": "c" * 24})
    migrate(empty, "head")
    with empty.reading() as db:
        usage, contact = db.get_one(Usage, "c" * 24), db.get_one(Contact, f"{0:024}")
        size = usages.size_of(vars(contact))
    assert size == len("Grace Höpper".encode()) + len('["12025550110"]["a"]')
    assert (usage.contacts, usage.bytes) == (2, 2 * size + 1_000)


def shape(database: Database) -> dict[str, object]:
    """Return what a schema has that does not depend on the kind of database."""
    with database.engine.connect() as connection:
        inspector = inspect(connection)
        return {
            table: {
                "columns": [
                    (each["name"], each["nullable"]) for each in inspector.get_columns(table)
                ],
                "indexes": {
                    (str(each["name"]), tuple(each["column_names"]), bool(each["unique"]))
                    for each in inspector.get_indexes(table)
                    if "duplicates_constraint" not in each
                },
                "unique": {
                    (str(each["name"]), tuple(each["column_names"]))
                    for each in inspector.get_unique_constraints(table)
                },
                "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
                "foreign keys": {
                    (str(each["name"]), each["referred_table"], tuple(each["constrained_columns"]))
                    for each in inspector.get_foreign_keys(table)
                },
            }
            for table in sorted(inspector.get_table_names())
            if table != "alembic_version"
        }


@on_postgres
def test_both_databases_have_the_same_tables_columns_and_indexes(
    database: Database, sqlite_template: Path
) -> None:
    embedded = Database(Settings(data_dir=sqlite_template.parent))
    assert shape(embedded) == shape(database)
    embedded.dispose()


def test_there_is_one_line_of_migrations_named_by_number() -> None:
    assert len(SCRIPTS.get_heads()) == 1
    for number, revision in enumerate(REVISIONS, start=1):
        assert re.fullmatch(rf"{number:04}_[a-z0-9_]+", revision)
        script = SCRIPTS.get_revision(revision)
        assert script is not None
        assert Path(script.path).stem == revision
        assert script.doc[0].isupper()
