"""The engine `procrastinate`: how it is set up, and what it says where it cannot work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from click.testing import Result

from service.app import Application
from service.config import SettingError, Settings
from service.core import jobs
from service.core.jobs import Job
from service.database import now_ms
from service.dispatch.procrastinate import engine
from service.dispatch.procrastinate.engine import EngineError
from service.metrics import meters
from tests import workers
from tests.conftest import on_postgres, on_sqlite
from tests.waiting import LIMIT, until
from tests.workers import ROOT, queued, worker
from tests.world import ADA, World

MakeApp = Callable[..., Application]


@pytest.fixture
def queue(settings: Settings) -> Iterator[World]:
    """Return a world whose broadcasts leave jobs, and no worker."""
    with queued(settings) as world:
        world.session()
        yield world


def command(app: Application, *words: str) -> Result:
    with app.app_context():
        return app.test_cli_runner().invoke(args=words)


def lose(world: World, *, worker_id: int | None, seconds: float) -> None:
    """Have all jobs seem begun so long ago, by a worker that is gone or that forgot them."""
    world.tell(
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = :worker"
        " WHERE task_name = 'crier.dispatch'",
        worker=worker_id,
    )
    world.tell(
        "UPDATE procrastinate_events SET at = at - make_interval(secs => :seconds)",
        seconds=seconds,
    )


@pytest.mark.parametrize(
    ("seconds", "expression"),
    [
        (0.2, "* * * * * */1"),
        (5.0, "* * * * * */5"),
        (59.4, "* * * * * */59"),
        (60.0, "* * * * *"),
        (900.0, "* * * * *"),
    ],
)
def test_an_interval_is_rounded_to_what_cron_knows(seconds: float, expression: str) -> None:
    assert engine.every(seconds) == expression


def test_sqlite_has_no_queue() -> None:
    with pytest.raises(SettingError, match="needs Postgres"):
        Settings(dispatch="procrastinate")


@on_sqlite
def test_no_queue_is_set_up_on_sqlite(app: Application) -> None:
    result = command(app, "engine", "setup")
    assert result.exit_code == 1
    assert "set DATABASE_URL" in result.output


@on_postgres
def test_the_queue_is_set_up_once(app: Application) -> None:
    assert command(app, "engine", "setup").output == "The queue was created.\n"
    assert command(app, "engine", "setup").output == "The queue already exists.\n"


@on_postgres
def test_a_queue_of_an_older_release_is_left_as_it_is(world: World, app: Application) -> None:
    engine.set_up(world.database)
    world.tell("ALTER FUNCTION procrastinate_retry_job_v2 RENAME TO another")
    with pytest.raises(EngineError, match="older"):
        engine.set_up(world.database)
    result = command(app, "engine", "setup")
    assert result.exit_code == 1
    assert "apply its migrations" in result.output


@on_postgres
def test_a_worker_without_a_queue_says_what_to_do(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process that shares its metrics does so to its end.
    monkeypatch.setattr(meters, "share", lambda _folder: None)
    result = command(make_app(dispatch="procrastinate"), "worker")
    assert result.exit_code == 1
    assert "run `.venv/bin/flask engine setup`" in result.output


def test_a_worker_has_nothing_to_do_where_no_jobs_are_left(app: Application) -> None:
    result = command(app, "worker")
    assert result.exit_code == 1
    assert "DISPATCH=procrastinate" in result.output


@on_postgres
@pytest.mark.parametrize("words", [("worker",), ("engine", "setup")])
def test_without_the_extra_it_is_said_how_to_install_it(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    monkeypatch.delitem(sys.modules, "service.dispatch.procrastinate.engine")
    result = command(make_app(dispatch="procrastinate"), *words)
    assert result.exit_code == 1
    assert "requirements-procrastinate.txt" in result.output


def test_the_web_tier_does_without_the_extra() -> None:
    """In a process of its own: here, it is imported already."""
    look = "import sys, service.app; sys.exit('procrastinate' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=ROOT, check=False).returncode == 0


@on_postgres
def test_a_process_that_leaves_jobs_is_ready_when_there_is_a_queue(make_app: MakeApp) -> None:
    http = make_app(dispatch="procrastinate").test_client()
    answer = http.get("/readyz")
    assert answer.status_code == 503
    assert "flask engine setup" in str(answer.json)
    command(make_app(), "engine", "setup")
    answer = http.get("/readyz")
    assert answer.status_code == 200
    assert "flask worker" in answer.json["data"]["dispatcher"]  # type: ignore[index]


@on_postgres
def test_gunicorn_does_not_start_where_no_job_could_be_left(settings: Settings) -> None:
    given = workers.environment(settings) | {"DISPATCH": "procrastinate", "PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 3
    assert "run `.venv/bin/flask engine setup`" in done.stderr


@on_postgres
def test_a_job_of_a_worker_that_is_gone_is_retried(queue: World) -> None:
    broadcast_id = queue.broadcast(ADA)
    lose(queue, worker_id=None, seconds=0)
    with worker(queue):
        queue.await_status(broadcast_id, "completed")
        until(lambda: not workers.jobs(queue))


@on_postgres
def test_a_job_whose_end_was_not_recorded_is_retried(queue: World) -> None:
    with worker(queue):
        [worker_id] = workers.workers(queue)
        queue.broadcast(ADA, send_at=now_ms() + 3_600_000)
        lose(queue, worker_id=worker_id, seconds=3600)
        until(lambda: [job.status for job in workers.jobs(queue)] == ["todo"])


@on_postgres
def test_a_job_of_a_dead_worker_is_dropped_where_the_same_waits(queue: World) -> None:
    send_at = now_ms() + 3_600_000
    broadcast_id = queue.broadcast(ADA, send_at=send_at)
    lose(queue, worker_id=None, seconds=0)
    [lost] = workers.jobs(queue)
    with queue.database.writing() as db:
        jobs.defer(db, [Job(broadcast_id, 0, send_at)])
    with worker(queue):
        until(lambda: lost.id not in {job.id for job in workers.jobs(queue)})
    [kept] = workers.jobs(queue)
    assert (kept.name, kept.status) == (lost.name, "todo")
