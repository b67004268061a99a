"""The server that the tests bring themselves."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGQUIT

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from tests import postgres

ROOT = Path(__file__).parent.parent
HOLDER = """
import sys
from tests.postgres import Cluster
cluster = Cluster()
cluster.start()
print(cluster.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[postgres.Cluster]:
    cluster = postgres.Cluster()
    cluster.start()
    yield cluster
    cluster.close()


def ask(url: str, *queries: str) -> object:
    """Run queries in one transaction and return the last one's first value."""
    with create_engine(url, poolclass=NullPool).begin() as connection:
        return [connection.execute(text(query)) for query in queries][-1].scalar()


def await_gone(folder: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not folder.exists()


def test_a_database_has_what_its_template_has(cluster: postgres.Cluster) -> None:
    template = postgres.create_database(cluster.url, "model")
    ask(template, "CREATE TABLE fruit (name text)", "INSERT INTO fruit VALUES ('pear') RETURNING 1")
    copy = postgres.create_database(cluster.url, "copy", template="model")
    assert ask(copy, "SELECT name FROM fruit") == "pear"


def test_a_database_in_use_is_dropped(cluster: postgres.Cluster) -> None:
    url = postgres.create_database(cluster.url, "busy")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        connection.execute(text("SELECT 1"))
        postgres.drop_database(cluster.url, "busy")
        connection.invalidate()
    assert ask(cluster.url, "SELECT count(*) FROM pg_database WHERE datname = 'busy'") == 0


def test_a_database_that_does_not_exist_is_dropped(cluster: postgres.Cluster) -> None:
    postgres.drop_database(cluster.url, "never")


def test_a_cluster_comes_back_with_its_data_after_a_crash() -> None:
    cluster = postgres.Cluster(durable=True)
    try:
        cluster.start()
        ask(cluster.url, "CREATE TABLE fruit AS SELECT 'pear' AS name", "SELECT 1")
        for crash in (SIGQUIT, SIGKILL):
            cluster.stop(crash)
            cluster.start()
            assert ask(cluster.url, "SELECT name FROM fruit") == "pear"
    finally:
        cluster.close()
    assert not cluster.folder.exists()


def test_nothing_of_a_cluster_outlives_a_killed_run() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        folder = Path(holder.stdout.readline().decode().strip())
        assert (folder / "data").exists()
        holder.kill()
    assert await_gone(folder, seconds=90)


def test_a_setting_that_postgres_refuses_is_told_with_its_log() -> None:
    cluster = postgres.Cluster(settings={"shared_buffers": "nonsense"})
    try:
        with pytest.raises(postgres.StartError, match="nonsense"):
            cluster.start()
    finally:
        cluster.close()


def test_a_server_of_somebody_else_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://me:secret@db.example/admin")
    with postgres.server() as url:
        assert make_url(url).password == "secret"
        assert make_url(url).drivername == "postgresql+psycopg"
