"""A world on the engine `procrastinate`: Postgres with its queue, and workers as real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from service.config import Settings
from service.core import broadcasts
from service.database import Database, now_ms
from service.dispatch.procrastinate import engine
from tests.programs import Program
from tests.waiting import LIMIT, until
from tests.world import World

ROOT = Path(__file__).parent.parent
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")


@contextmanager
def queued(settings: Settings, **changes: Any) -> Iterator[World]:
    """Give a world whose broadcasts leave jobs; workers beat, sweep and retry in a hurry."""
    hurry = {"lease": 12.0, "sweep_interval": 1.0, "poll_interval": 0.1, "retry_base": 0.5}
    settings = replace(settings, dispatch="procrastinate", **(hurry | changes))
    # The test itself may take its time, whatever its workers may.
    database = Database(replace(settings, database_timeout=LIMIT))
    try:
        engine.set_up(database)
        yield World(settings, database)
    finally:
        database.dispose()


@contextmanager
def worker(world: World) -> Iterator[Program]:
    """Run `flask worker` until the end of the block, given as soon as it takes jobs."""
    before = set(workers(world))
    with log(world).open("ab") as output:
        command = ("flask", "--app", "wsgi", "worker")
        outputs = (1, output.fileno())
        process = Program(command, ROOT, environment(world.settings), outputs)
    try:
        until(lambda: set(workers(world)) - before or process.poll() is not None)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(LIMIT)
        except TimeoutExpired:
            process.kill()
            process.wait()
            raise


def log(world: World) -> Path:
    """Return the file of what all workers of a world complain about."""
    world.settings.data_dir.mkdir(exist_ok=True)
    return world.settings.data_dir / "workers.log"


def environment(settings: Settings) -> dict[str, str]:
    """Return the settings that matter to a worker, as a process reads them."""
    names = ["data_dir", "database_url", "dispatch", "lanes", "lease", "sweep_interval"]
    names += ["poll_interval", "retry_base", "retry_cap", "database_timeout", "grace"]
    ours = {name.upper(): str(getattr(settings, name)) for name in names}
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | ours | {"LOG_LEVEL": "WARNING"}


def pause(world: World, broadcast_id: str) -> None:
    with world.database.writing() as db:
        broadcasts.pause(db, world.client_id, broadcast_id, now=now_ms())


def resume(world: World, broadcast_id: str) -> None:
    with world.database.writing() as db:
        broadcasts.resume(db, world.client_id, broadcast_id, now=now_ms())


def workers(world: World) -> list[int]:
    """Return procrastinate's ids of the workers there are."""
    return [row.id for row in world.ask("SELECT id FROM procrastinate_workers ORDER BY id")]


def jobs(world: World) -> list[Any]:
    """Return all jobs about broadcasts, the oldest first."""
    query = """SELECT id, status::text, queueing_lock AS name, args, scheduled_at, worker_id
               FROM procrastinate_jobs WHERE task_name = 'crier.dispatch' ORDER BY id"""
    return list(world.ask(query))
