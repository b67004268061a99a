"""One engine, and the two ways of using it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool

from service.config import Settings
from service.database import OUT_OF_REACH, Database, now_ms
from service.models import Client
from tests.conftest import migrate, on_postgres, on_sqlite

INSERT = text("""
    INSERT INTO clients (id, name, created_at, updated_at, version)
    VALUES (CAST(:id AS varchar), CAST(:id AS varchar), 0, 0, 0)
""")
COUNT = text("SELECT count(*) FROM clients")


def add(database: Database, client_id: str) -> None:
    with database.writing() as db:
        db.execute(INSERT, {"id": client_id})


def count(database: Database) -> int:
    with database.reading() as db:
        return db.scalar(COUNT) or 0


def test_what_is_written_is_there_when_the_block_ends(database: Database) -> None:
    with database.writing() as db:
        db.execute(INSERT, {"id": "a"})
        assert db.scalar(COUNT) == 1
    assert count(database) == 1


def test_an_exception_undoes_the_whole_block(database: Database) -> None:
    def add_twice() -> None:
        with database.writing() as db:
            db.execute(INSERT, {"id": "a"})
            db.execute(INSERT, {"id": "a"})

    with pytest.raises(IntegrityError):
        add_twice()
    assert count(database) == 0


def test_what_only_adds_rows_needs_no_transaction_around_them(database: Database) -> None:
    with database.appending() as db:
        db.execute(INSERT, {"id": "a"})
        if not database.is_sqlite:
            assert db.scalar(text("SELECT pg_current_xact_id_if_assigned()")) is None
            assert count(database) == 1
    assert count(database) == 1
    add(database, "b")
    assert count(database) == 2


def test_a_look_changes_nothing(database: Database) -> None:
    with database.reading() as db, pytest.raises(RuntimeError, match=r"Database\.writing"):
        db.execute(INSERT, {"id": "a"})
    assert count(database) == 0


def test_objects_can_be_read_after_their_session_has_ended(database: Database) -> None:
    with database.writing() as db:
        client = Client(name="Acme")
        db.add(client)
    assert client.name == "Acme"


def test_no_connection_is_held_between_blocks(database: Database) -> None:
    add(database, "a")
    count(database)
    with pytest.raises(IntegrityError):
        add(database, "a")
    assert isinstance(database.engine.pool, QueuePool)
    assert database.engine.pool.checkedout() == 0


def test_writers_that_look_before_they_write_wait_for_each_other(settings: Settings) -> None:
    """In processes of their own: each has a database object, as it would have there."""
    databases = [Database(settings) for _ in range(4)]
    failures: list[Exception] = []

    def work(number: int, database: Database) -> None:
        try:
            for turn in range(25):
                with database.writing() as db:
                    db.scalar(COUNT)
                    db.execute(INSERT, {"id": f"{number}-{turn}"})
        except Exception as error:  # noqa: BLE001 - it is reported by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(databases)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert count(databases[0]) == 100
    for database in databases:
        database.dispose()


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    add(database, "a")
    with database.writing() as db:
        db.execute(INSERT, {"id": "b"})
        assert count(database) == 1


def test_whoever_waits_too_long_for_a_lock_is_told(database: Database, settings: Settings) -> None:
    add(database, "a")
    impatient = Database(replace(settings, database_timeout=0.05))
    change = text("UPDATE clients SET name = 'b'")
    with database.writing() as db:
        db.execute(change)
        with pytest.raises(OUT_OF_REACH), impatient.writing() as other:
            other.execute(change)
    impatient.dispose()


@on_sqlite
def test_writers_of_one_process_wait_no_longer_than_the_timeout(settings: Settings) -> None:
    database = Database(replace(settings, database_timeout=0.05))
    failures: list[Exception] = []

    def wait() -> None:
        try:
            add(database, "a")
        except OUT_OF_REACH as error:
            failures.append(error)

    with database.writing():
        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(failures) == 5
    database.dispose()


def test_an_error_does_not_repeat_what_was_to_be_written(database: Database) -> None:
    add(database, "secret-number")
    with pytest.raises(IntegrityError) as caught:
        add(database, "secret-number")
    assert "[SQL" in str(caught.value)
    assert "secret-number" not in str(caught.value).partition("[SQL")[2]


@on_sqlite
def test_sqlite_keeps_what_was_answered_and_lets_readers_be(database: Database) -> None:
    def ask(pragma: str) -> object:
        with database.reading() as db:
            return db.scalar(text(f"PRAGMA {pragma}"))

    assert database.is_sqlite
    assert (ask("journal_mode"), ask("synchronous"), ask("foreign_keys")) == ("wal", 2, 1)


@on_sqlite
def test_the_folder_of_a_new_file_is_made(tmp_path: Path, settings: Settings) -> None:
    fresh = Database(replace(settings, data_dir=tmp_path / "deep" / "down"))
    with fresh.writing() as db:
        db.execute(text("CREATE TABLE fruit (name text)"))
    fresh.dispose()
    assert (tmp_path / "deep" / "down" / "crier.db").exists()


@on_postgres
def test_postgres_waits_for_no_lock_for_ever(settings: Settings) -> None:
    database = Database(replace(settings, database_timeout=5.0))

    def ask(name: str) -> object:
        with database.reading() as db:
            return db.scalar(text(f"SHOW {name}"))

    assert not database.is_sqlite
    assert (ask("lock_timeout"), ask("timezone"), ask("application_name")) == ("5s", "UTC", "crier")
    assert ask("idle_in_transaction_session_timeout") == "20s"
    database.dispose()


@on_postgres
def test_a_server_that_is_away_is_out_of_reach(settings: Settings, tmp_path: Path) -> None:
    database = Database(
        replace(settings, database_url=f"postgresql:///crier?host={tmp_path}", database_timeout=1.0)
    )
    with pytest.raises(OUT_OF_REACH):
        count(database)


@on_postgres
def test_a_connection_that_was_cut_is_replaced(database: Database) -> None:
    add(database, "a")
    with database.reading() as one, database.reading() as other:
        pids = [db.scalar(text("SELECT pg_backend_pid()")) for db in (one, other)]
        assert len(set(pids)) == 2
    end = text("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid = :pid")
    with database.reading() as db:
        mine = db.scalar(text("SELECT pg_backend_pid()"))
        for pid in set(pids) - {mine}:
            db.execute(end, {"pid": pid})
    for _ in range(3):
        assert count(database) == 1


def test_the_time_is_in_milliseconds() -> None:
    assert 1_700_000_000_000 < now_ms() < 10_000_000_000_000


@on_sqlite
@pytest.mark.parametrize("name", ["a?b=c", "a%20b", "a b", "a#b", "grüße"])
def test_the_file_is_in_the_folder_that_is_named(
    tmp_path: Path, settings: Settings, name: str
) -> None:
    fresh = Database(replace(settings, data_dir=tmp_path / name))
    with fresh.writing() as db:
        db.execute(text("CREATE TABLE fruit (name text)"))
    fresh.dispose()
    assert (tmp_path / name / "crier.db").exists()


@on_postgres
def test_the_tables_are_in_the_schema_that_the_url_names(
    settings: Settings, database: Database
) -> None:
    with database.writing() as db:
        db.execute(text("CREATE SCHEMA tenant"))
    url = f"{settings.database_url}&options=-c%20search_path%3Dtenant"
    mine = Database(replace(settings, database_url=url))
    migrate(mine)
    add(mine, "a")
    assert (count(mine), count(database)) == (1, 0)
    mine.dispose()
