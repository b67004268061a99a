"""Connections to Postgres that are given up where the server leaves them without an answer."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from service import pg
from service.config import Settings
from service.database import OUT_OF_REACH, Database
from service.pg import SilentError
from tests import postgres
from tests.waiting import LIMIT, until

TIMEOUT = 0.4
LONGER = 2 * TIMEOUT
LATE = 20.0
"""Seconds after which an answer counts as none, on a machine with much else to do."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.started(postgres.Cluster()) as cluster:
        yield cluster


@pytest.fixture
def settings(cluster: postgres.Cluster) -> Settings:
    return Settings(database_url=cluster.url, database_timeout=TIMEOUT, dispatch="off")


@pytest.fixture
def patient(settings: Settings) -> Iterator[Database]:
    """Return a database whose answers may take their time."""
    database = Database(replace(settings, database_timeout=LIMIT))
    yield database
    database.dispose()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.dispose()


def ask(database: Database, query: str = "SELECT 1") -> object:
    with database.reading() as db:
        return db.scalar(text(query))


def answer(database: Database, query: str = "SELECT 1") -> object:
    """Ask until there is an answer: the timeout is short for a machine with much else to do."""
    answers: list[object] = []

    def is_answered() -> bool:
        with suppress(*OUT_OF_REACH):
            answers.append(ask(database, query))
        return bool(answers)

    until(is_answered)
    return answers[0]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def taking(at_most: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < at_most


def at_once(count: int, work: Callable[[], object]) -> int:
    """Do something in so many threads; return how many were refused."""

    def is_refused(_number: int) -> bool:
        try:
            work()
        except (*OUT_OF_REACH, psycopg.OperationalError):
            return True
        return False

    with ThreadPoolExecutor(count) as threads:
        return sum(threads.map(is_refused, range(count)))


@contextmanager
def open_door() -> Iterator[str]:
    """Give the URL of a server that takes connections and says nothing."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(100)
        yield f"postgresql://nobody@127.0.0.1:{door.getsockname()[1]}/nothing"


@contextmanager
def dropped_packets() -> Iterator[str]:
    """Give the URL of a server whose machine answers no packet: its backlog is full."""
    with socket.socket() as door, socket.socket() as first, socket.socket() as second:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        for caller in (first, second):
            caller.settimeout(0)
            caller.connect_ex(door.getsockname())
        yield f"postgresql://nobody@127.0.0.1:{door.getsockname()[1]}/nothing"


def test_a_statement_without_an_answer_ends_in_time_and_all_is_well_afterwards(
    database: Database, cluster: postgres.Cluster
) -> None:
    answer(database)
    with database.reading() as db:
        db.scalar(text("SELECT 1"))
        with cluster.silent(), taking(LATE), pytest.raises(OUT_OF_REACH):
            db.scalar(text("SELECT 1"))
    assert answer(database) == 1


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_the_end_of_a_transaction_without_an_answer_comes_in_time(
    database: Database, cluster: postgres.Cluster, ending: str
) -> None:
    with suppress(*OUT_OF_REACH), database.writing() as db:
        db.execute(text("CREATE TEMPORARY TABLE fruit (name text)"))
        with cluster.silent(), taking(LATE):
            getattr(db, ending)()
    assert answer(database) == 1


def test_whoever_wants_a_connection_of_a_silent_server_is_told_however_many_come(
    settings: Settings, cluster: postgres.Cluster
) -> None:
    database = Database(replace(settings, database_timeout=1.0))
    at_once(8, lambda: ask(database))
    with cluster.silent():
        for _ in range(2):
            assert at_once(50, lambda: ask(database)) == 50
    until(lambda: at_once(8, lambda: ask(database)) == 0)
    database.dispose()


def test_the_pool_of_a_silent_server_is_dropped_in_no_time(
    database: Database, cluster: postgres.Cluster
) -> None:
    answer(database)
    with cluster.silent(), taking(LATE):
        database.dispose()


@pytest.mark.parametrize("where", [open_door, dropped_packets])
def test_attempts_that_fail_leave_nothing_open(
    settings: Settings, where: Callable[[], AbstractContextManager[str]]
) -> None:
    settings = replace(settings, database_timeout=0.15)
    gc.collect()
    gc.disable()
    try:
        with where() as url:
            before = descriptors()
            for _ in range(3):
                assert at_once(20, lambda: pg.connect(url, settings)) == 20
                assert descriptors() <= before
    finally:
        gc.enable()


def test_the_server_itself_ends_a_statement_that_takes_too_long(database: Database) -> None:
    pid = answer(database, "SELECT pg_backend_pid()")
    with taking(LATE), pytest.raises(OUT_OF_REACH, match="statement timeout"):
        ask(database, "SELECT pg_sleep(60)")
    assert answer(database, "SELECT pg_backend_pid()") == pid


def test_a_migration_may_take_longer_and_nothing_else_afterwards(database: Database) -> None:
    answer(database)
    with database.migrating() as connection:
        connection.execute(text(f"SELECT pg_sleep({LONGER})"))
    assert answer(database, "SHOW statement_timeout") == "400ms"
    with taking(LATE), pytest.raises(OUT_OF_REACH):
        ask(database, "SELECT pg_sleep(60)")


def test_a_statement_that_changes_many_rows_may_take_ten_times_as_long(database: Database) -> None:
    answer(database)
    with database.writing_much() as db:
        db.execute(text(f"SELECT pg_sleep({LONGER})"))
        assert db.scalar(text("SHOW statement_timeout")) == "4s"
    assert answer(database, "SHOW statement_timeout") == "400ms"


def test_a_silent_name_server_is_not_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(pg, "conninfo_attempts", lambda _: ended.wait(60))
    with taking(LATE), pytest.raises(SilentError, match="name server"):
        pg.connect("postgresql://db.example/crier", settings)
    ended.set()


def test_parameters_of_the_url_have_the_last_word(settings: Settings, patient: Database) -> None:
    with patient.writing() as db:
        db.execute(text("CREATE SCHEMA tenant"))
    says = "&application_name=mine&options=-c%20search_path%3Dtenant%20-c%20lock_timeout%3D7s"
    url = settings.database_url + says
    mine = Database(replace(settings, database_url=url, database_timeout=LIMIT))
    with mine.writing() as db:
        db.execute(text("CREATE TABLE fruit (name text)"))
    assert ask(mine, "SELECT to_regclass('tenant.fruit')") == "fruit"
    assert ask(mine, "SHOW lock_timeout") == "7s"
    assert ask(mine, "SHOW application_name") == "mine"
    assert ask(mine, "SHOW statement_timeout") == "1min"
    mine.dispose()
    with patient.writing() as db:
        db.execute(text("DROP SCHEMA tenant CASCADE"))


def write(database: Database) -> None:
    with database.writing() as db:
        db.execute(text("CREATE TABLE fruit (name text)"))
        db.execute(text("DROP TABLE fruit"))


@contextmanager
def read_only(cluster: postgres.Cluster, settings: Settings) -> Iterator[None]:
    """Let sessions that begin within the block take no writes, as on a standby."""
    say = "ALTER DATABASE postgres SET default_transaction_read_only"
    with closing(pg.connect(cluster.url, replace(settings, database_timeout=LIMIT))) as admin:
        admin.execute(f"{say} = on")
        try:
            yield
        finally:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


def test_connections_that_were_opened_read_only_are_used_once(
    settings: Settings, cluster: postgres.Cluster, patient: Database
) -> None:
    with read_only(cluster, settings), patient.reading() as one, patient.reading() as other:
        assert one.scalar(text("SELECT 1")) == other.scalar(text("SELECT 1"))
        with pytest.raises(OUT_OF_REACH, match="read-only"):
            write(patient)
    for _ in range(3):
        write(patient)


def test_connections_to_a_server_that_takes_no_writes_any_more_are_replaced(
    patient: Database,
) -> None:
    with patient.reading() as one, patient.reading() as other:
        for db in (one, other):
            db.execute(text("SET SESSION default_transaction_read_only = on"))
            db.commit()
    with pytest.raises(OUT_OF_REACH, match="read-only"):
        write(patient)
    for _ in range(3):
        write(patient)


def test_of_several_hosts_the_one_that_takes_writes_is_used(
    settings: Settings, cluster: postgres.Cluster
) -> None:
    settled = postgres.Cluster(settings={"default_transaction_read_only": "on"})
    with postgres.started(settled) as standby:
        hosts = f"{standby.folder},{cluster.folder}"
        url = f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"
        database = Database(replace(settings, database_url=url, database_timeout=6.0))
        write(database)
        database.dispose()
        with standby.silent(), taking(LATE):
            write(database)
        database.dispose()
        standby.stop()
        write(database)
        database.dispose()
        cluster.stop()
        try:
            with pytest.raises(OUT_OF_REACH, match="No database host is usable"):
                write(database)
        finally:
            cluster.start()


def test_a_connection_of_asyncio_is_given_up_in_time_too(
    settings: Settings, cluster: postgres.Cluster
) -> None:
    async def ask_twice() -> None:
        parameters = pg.connect_parameters(settings.database_url, settings)
        connection = await pg.async_connection(settings).connect(**parameters)
        await pg.prepare(connection, settings)
        await connection.execute("SELECT 1")
        with cluster.silent():
            with taking(LATE), pytest.raises(SilentError):
                await connection.execute("SELECT 1")
            assert connection.closed
            with taking(LATE), pytest.raises(psycopg.OperationalError):
                await pg.async_connection(settings).connect(**parameters)

    before = descriptors()
    asyncio.run(ask_twice())
    assert descriptors() == before
