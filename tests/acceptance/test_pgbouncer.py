"""The service behind a PgBouncer in transaction mode."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from service import pg
from service.channels.drivers import sandbox
from service.config import Settings
from service.database import OUT_OF_REACH, Database
from tests import postgres
from tests.conftest import migrate
from tests.pgbouncer import needs_pgbouncer, pooling
from tests.waiting import LIMIT, until
from tests.world import World, numbers

pytestmark = needs_pgbouncer


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.started(postgres.Cluster()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pooled(cluster: postgres.Cluster) -> Iterator[str]:
    """Return the URL of a migrated database behind a PgBouncer."""
    with pooling(cluster) as url:
        database = Database(Settings(database_url=url))
        migrate(database)
        database.dispose()
        yield url


@pytest.fixture
def world(pooled: str, tmp_path: Path) -> Iterator[World]:
    settings = Settings(
        database_url=pooled, data_dir=tmp_path, dispatch="off", database_timeout=LIMIT
    )
    database = Database(settings)
    yield World(settings, database)
    with database.writing() as db:
        db.execute(text("DELETE FROM clients"))
    database.dispose()


def deliver(world: World, count: int) -> None:
    session_id = world.session(settings={"idempotent": False})
    broadcast_id = world.broadcast(numbers(count))
    world.await_status(broadcast_id, "completed")
    messages = sandbox.received(world.settings.sandbox_store, [session_id], 0, count + 1)[1]
    assert Counter(each["recipient"] for each in messages) == dict.fromkeys(numbers(count), 1)


def test_everybody_gets_the_message_once(world: World) -> None:
    dispatcher = world.dispatcher(poll_interval=0.05, flush_batch=20, claim_batch=50)
    dispatcher.start()
    try:
        deliver(world, 1_000)
    finally:
        assert dispatcher.stop(LIMIT)


def test_a_statement_that_comes_again_and_again_finds_no_other_session_s_preparations(
    world: World,
) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            for number in range(40):
                # A rollback would make psycopg forget what it has prepared.
                with world.database.writing() as db:
                    assert db.scalar(text("SELECT :number + 1"), {"number": number}) == number + 1
        except Exception as error:  # noqa: BLE001 - the test's own thread reports it
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_transaction_has_its_limits_and_leaves_none_to_others(world: World, pooled: str) -> None:
    with world.database.writing() as db:
        assert db.scalar(text("SHOW lock_timeout")) == "1min"
        assert db.scalar(text("SHOW idle_in_transaction_session_timeout")) == "4min"
    with closing(pg.connect(pooled, world.settings)) as other:
        for _ in range(8):
            assert other.execute("SHOW lock_timeout").fetchone() == ("0",)


def until_listening(world: World) -> None:
    listening = "SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN crier_work'"
    until(lambda: world.ask(listening))


def test_words_of_new_work_come_past_the_pooler(world: World, cluster: postgres.Cluster) -> None:
    dispatcher = world.dispatcher(database_direct_url=cluster.url, poll_interval=60.0)
    dispatcher.start()
    try:
        until_listening(world)
        deliver(world, 10)
    finally:
        assert dispatcher.stop(LIMIT)


def test_a_silent_server_behind_it_is_given_up_in_time(
    world: World, cluster: postgres.Cluster
) -> None:
    impatient = world.with_settings(database_timeout=0.4)
    database = Database(impatient.settings)
    ask = text("SELECT count(*) FROM clients")

    def is_answered() -> bool:
        with suppress(*OUT_OF_REACH), database.reading() as db:
            return bool(db.scalar(ask) == 1)
        return False

    until(is_answered)
    with cluster.silent():
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(OUT_OF_REACH), database.reading() as db:
                db.scalar(ask)
            assert time.monotonic() - began < 20.0
    until(is_answered)
    database.dispose()
