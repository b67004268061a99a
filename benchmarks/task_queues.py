"""The usual ways: a task per recipient on Celery or Dramatiq, in an environment of their own."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg

from benchmarks.provider import Provider
from benchmarks.rates import rate
from benchmarks.workspace import PYTHON, ROOT, Workspace, answers, on_path, until
from tests.serving import free_port

CELERY = "Celery, a task per recipient, Redis + Postgres"
DRAMATIQ = "Dramatiq, a task per recipient, Redis + Postgres"
PACKAGE = "redis-server"

ENVIRONMENT = ROOT / ".bench"
_BIN = ENVIRONMENT / "venv/bin"
_REQUIREMENTS = ROOT / "benchmarks/requirements.txt"

_TABLE = """
    CREATE TABLE results (
        id int PRIMARY KEY, recipient text NOT NULL, message_id text, sent_at timestamptz)
"""
_ROWS = "INSERT INTO results SELECT n, (%s + n)::text FROM generate_series(1, %s) AS n"
_DONE = "SELECT count(*) FROM results WHERE sent_at IS NOT NULL"

_STEADY = (0.02, 0.95)
"""The part that is timed: a task that failed comes again much later, on both."""

Way = Callable[[int], float]


class _Rival(NamedTuple):
    """How to start the workers of one way; they take their tasks from a full queue."""

    module: str
    workers: tuple[str, ...]


_RIVALS = {
    CELERY: _Rival(
        "benchmarks.rivals.celery_tasks",
        ("celery", "-A", "benchmarks.rivals.celery_tasks", "worker", "--loglevel", "WARNING"),
    ),
    DRAMATIQ: _Rival(
        "benchmarks.rivals.dramatiq_tasks", ("dramatiq", "benchmarks.rivals.dramatiq_tasks")
    ),
}
"""Both with the number of workers that they choose by themselves, as most people run them."""


def missing() -> list[str]:
    """Return the Debian packages that the usual ways lack."""
    return [] if _server() else [PACKAGE]


@contextmanager
def running(workspace: Workspace, provider: Provider) -> Iterator[dict[str, Way]]:
    """Give the ways there are, each a measurement of deliveries a second."""
    server = _server()
    if server is None:
        yield {}
        return
    install()
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with workspace.process("redis", [server, *options, "--dir", workspace.new_folder()]):
        until(lambda: answers(port), "redis")
        yield {name: _way(workspace, provider, port, rival) for name, rival in _RIVALS.items()}


def install() -> None:
    """Make the environment of the usual ways as its hashed pins say, if it is not so already."""
    # An environment does not survive that its folder is moved.
    wanted = f"{hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()} {ENVIRONMENT}"
    made = ENVIRONMENT / "made-of"
    if made.exists() and made.read_text() == wanted:
        return
    print("  installing Celery, Dramatiq and a profiler into .bench/venv", flush=True)
    ENVIRONMENT.mkdir(exist_ok=True)
    (ENVIRONMENT / ".gitignore").write_text("*\n")
    subprocess.run([PYTHON, "-m", "venv", "--clear", ENVIRONMENT / "venv"], check=True)
    pip = [program("python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--requirement", str(_REQUIREMENTS)], check=True)
    made.write_text(wanted)


def program(name: str) -> str:
    """Return a program of that environment."""
    return str(_BIN / name)


def _way(workspace: Workspace, provider: Provider, port: int, rival: _Rival) -> Way:
    def measured(total: int) -> float:
        with workspace.new_database() as url, psycopg.connect(plain(url), autocommit=True) as db:
            db.execute(_TABLE)
            db.execute(_ROWS, (2348030000000, total))
            environment = {
                "BROKER": f"redis://127.0.0.1:{port}/0",
                "RESULTS": plain(url),
                "PROVIDER": provider.url(),
            }
            enqueue = [program("python"), "-m", rival.module]
            with workspace.process("enqueue", enqueue, environment) as process:
                process.wait()
            workers = [program(rival.workers[0]), *rival.workers[1:]]
            with workspace.process("workers", workers, environment):
                return rate(lambda: _count(db), total, part=_STEADY)

    return measured


def _server() -> str | None:
    return on_path("redis-server", "valkey-server")


def _count(db: psycopg.Connection) -> int:
    row = db.execute(_DONE).fetchone()
    return row[0] if row else 0


def plain(url: str) -> str:
    """Return the URL of a database as psycopg takes it."""
    return url.replace("+psycopg", "")
