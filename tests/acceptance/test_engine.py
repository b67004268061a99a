"""Stories of the engine `procrastinate`: real workers, and what may happen to them."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text

from chaos.plan import Plan
from chaos.run import run
from service.app import Application
from service.config import Settings
from service.database import Database, now_ms
from service.dispatch.procrastinate import engine
from service.models import FOREVER
from tests import workers
from tests.conftest import Tenant, on_postgres
from tests.programs import Program
from tests.waiting import LIMIT, until
from tests.workers import queued, worker
from tests.world import ADA, GRACE, JOAN, World, numbers

MakeApp = Callable[..., Application]

FAILS_ONCE, THROTTLED = "12025550102", "12025550103"
"""Recipients of the sandbox: both are refused once, the second with a wait."""

TWO_DAYS = 2 * 86_400.0
"""Seconds of which even a small random part is long."""

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname"


@pytest.fixture
def queue(settings: Settings) -> Iterator[World]:
    """Return a world whose broadcasts leave jobs, and no worker."""
    with queued(settings) as world:
        yield world


SLOW, QUICK = 0.25, 0.02
"""Seconds for a message, of which sixteen are under way: until a broadcast's middle, and after."""


def slow(world: World, latency: float = SLOW, **fields: Any) -> str:
    """Create a session that takes a while for each message, so that there is a middle."""
    return world.session(settings={"latency": latency, **fields}, concurrency=16)


def use(world: World, session_id: str) -> None:
    """Have the broadcasts that come go through a session."""
    world.tell("UPDATE sessions SET is_default = false")
    world.tell("UPDATE sessions SET is_default = true WHERE id = :id", id=session_id)


def copies(world: World) -> Counter[str]:
    """Count what each recipient got."""
    return Counter(message["recipient"] for message in world.received())


def sent(world: World, broadcast_id: str) -> int:
    return world.get(broadcast_id).sent


def sender(world: World) -> int:
    """Return the process that is sending now."""
    query = """SELECT DISTINCT pid FROM dispatchers JOIN deliveries ON claim_id = dispatchers.id
               WHERE status = 'sending'"""
    until(lambda: world.ask(query))
    return int(world.ask(query)[0].pid)


@contextmanager
def away(database: Database, server: str) -> Iterator[None]:
    """Cut everybody off from a database, until the end of the block."""
    admin = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with database.reading() as db:
        name = db.scalar(text("SELECT current_database()"))
    with admin.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute(text(f"{CUT} = :name"), {"name": name})
        yield
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    database.dispose()


def is_at_rest(world: World) -> bool:
    return not workers.jobs(world)


@on_postgres
def test_workers_deliver_exactly_once_and_when_one_is_killed_another_one_finishes(
    queue: World,
) -> None:
    one_lane, two_lanes = numbers(900), numbers(1_200)
    with worker(queue) as one, worker(queue) as two, worker(queue) as three:
        slow(queue, QUICK, idempotent=False)
        deliver(queue, two_lanes)
        use(queue, session_id := slow(queue))
        left = kill_the_sender(queue, session_id, one_lane, [one, two, three])
        kill_the_sender(queue, session_id, two_lanes, left)


def deliver(world: World, to: list[str]) -> None:
    broadcast_id = world.broadcast(to)
    world.await_status(broadcast_id, "completed")
    until(lambda: is_at_rest(world))
    assert copies(world) == Counter(to)
    assert world.statuses(broadcast_id) == {"sent": len(to)}
    world.assert_counters_equal_rows([broadcast_id])


def kill_the_sender(
    world: World, session_id: str, to: list[str], running: list[Program]
) -> list[Program]:
    """Kill a worker in the middle of a broadcast, see it finished, and return who is left."""
    before = copies(world)
    world.change(session_id, settings={"latency": SLOW})
    broadcast_id = world.broadcast(to)
    until(lambda: sent(world, broadcast_id) > 30)
    victim = sender(world)
    [killed] = [process for process in running if process.pid == victim]
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert sent(world, broadcast_id) < len(to)
    world.change(session_id, settings={"latency": QUICK})
    world.await_status(broadcast_id, "completed")
    assert copies(world) - before == Counter(to)
    world.assert_counters_equal_rows([broadcast_id])
    return [process for process in running if process is not killed]


@on_postgres
def test_a_worker_that_is_asked_to_end_leaves_the_rest_to_another_at_once(queue: World) -> None:
    session_id = slow(queue, idempotent=False)
    to = numbers(900)
    with worker(queue) as first:
        broadcast_id = queue.broadcast(to)
        until(lambda: sent(queue, broadcast_id) > 30)
        first.send_signal(signal.SIGTERM)
        assert first.wait() == 0
        assert 30 < sent(queue, broadcast_id) < 900
        assert "sending" not in queue.statuses(broadcast_id)
        [job] = workers.jobs(queue)
        assert (job.status, job.scheduled_at) == ("todo", None)
        assert workers.workers(queue) == []
    queue.change(session_id, settings={"latency": QUICK, "idempotent": False})
    with worker(queue):
        queue.await_status(broadcast_id, "completed")
    assert copies(queue) == Counter(to)


@on_postgres
def test_what_has_to_wait_is_taken_up_again_when_its_time_has_come(settings: Settings) -> None:
    """Nobody misses the jobs that wait, for hours: then the time they wait for is set to now."""
    with queued(settings, retry_base=TWO_DAYS, retry_cap=TWO_DAYS) as queue:
        take_up_again(queue)


def take_up_again(queue: World) -> None:
    queue.session()
    held = queue.session()
    queue.tell("UPDATE sessions SET held_until = :end WHERE id = :id", end=FOREVER, id=held)
    send_at = now_ms() + 1_000
    scheduled = queue.broadcast(JOAN, send_at=send_at)
    waiting = queue.broadcast(GRACE, session_id=held)
    with worker(queue):
        retried = queue.broadcast([ADA, FAILS_ONCE, THROTTLED])
        until(lambda: sent(queue, retried) == 1)
        until(lambda: [job for job in workers.jobs(queue) if is_later(job, retried)])
        queue.tell("UPDATE deliveries SET due_at = 0 WHERE broadcast_id = :id", id=retried)
        now = "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE queueing_lock LIKE :name"
        queue.tell(now, name=f"{retried}%")
        until(lambda: not [job for job in workers.jobs(queue) if job.name.startswith(waiting)])
        queue.tell("UPDATE sessions SET held_until = 0 WHERE id = :id", id=held)
        for broadcast_id in (waiting, scheduled, retried):
            queue.await_status(broadcast_id, "completed")
    assert {each.recipient: each.attempts for each in queue.deliveries(retried)} == {
        ADA: 1,
        FAILS_ONCE: 2,
        THROTTLED: 2,
    }
    assert copies(queue) == Counter([ADA, FAILS_ONCE, THROTTLED, GRACE, JOAN])
    [message] = [message for message in queue.received() if message["recipient"] == JOAN]
    assert message["received_at"] >= send_at


def is_later(job: Any, broadcast_id: str) -> bool:
    return bool(job.name.startswith(broadcast_id) and job.name.endswith("+"))


@on_postgres
def test_a_large_broadcast_lets_a_small_one_pass_and_leaves_the_worker_while_it_is_paused(
    queue: World,
) -> None:
    session_id = slow(queue, idempotent=False)
    to = numbers(1_500)
    with worker(queue):
        large = queue.broadcast(to)
        until(lambda: sent(queue, large) > 30)
        small = queue.broadcast([ADA, GRACE])
        queue.await_status(small, "completed")
        assert queue.get(large).status == "sending"
        workers.pause(queue, large)
        until(lambda: is_at_rest(queue))
        until(lambda: "sending" not in queue.statuses(large))
        assert sent(queue, large) < len(to)
        queue.change(session_id, settings={"latency": QUICK, "idempotent": False})
        workers.resume(queue, large)
        queue.await_status(large, "completed")
    assert copies(queue) == Counter([*to, ADA, GRACE])


@on_postgres
def test_a_worker_outlives_what_befalls_its_database_and_can_be_stopped_meanwhile(
    settings: Settings, postgres_server: str
) -> None:
    hurry = {"database_timeout": 1.0, "grace": 2.0, "lease": 2.0, "sweep_interval": 0.5}
    with queued(settings, **hurry) as queue, worker(queue) as process:
        slow(queue, QUICK)
        first = begin(queue)
        assert queue.ask(f"{CUT} = current_database() AND pid <> pg_backend_pid()")
        queue.database.dispose()
        queue.await_status(first, "completed")
        second = begin(queue)
        with away(queue.database, postgres_server):
            until(lambda: "the worker failed" in workers.log(queue).read_text())
        queue.await_status(second, "completed")
        third = queue.broadcast(GRACE)
        queue.await_status(third, "completed")
        until(lambda: is_at_rest(queue))
        assert process.poll() is None
        assert copies(queue) == Counter([*MANY, *MANY, GRACE])
        begin(queue)
        said = workers.log(queue).stat().st_size
        with away(queue.database, postgres_server):
            until(lambda: b"unreachable" in workers.log(queue).read_bytes()[said:])
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) in {0, 1}


MANY = numbers(900)


def begin(world: World) -> str:
    """Return a broadcast that is being sent."""
    broadcast_id = world.broadcast(MANY)
    until(lambda: sent(world, broadcast_id) > 30)
    return broadcast_id


@on_postgres
def test_a_request_that_fails_leaves_neither_a_broadcast_nor_a_job(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(dispatch="procrastinate")
    acme = Tenant(app, "Acme")
    database: Database = acme.crier.database
    engine.set_up(database)
    acme.make("/session", name="sandbox", channel="sandbox", settings={})
    order = {"send_type": "individual", "to": ADA, "message": {"text": "Hello"}}

    def count() -> list[Any]:
        queries = ("SELECT count(*) FROM broadcasts", "SELECT count(*) FROM procrastinate_jobs")
        with database.reading() as db:
            return [db.scalar(text(query)) for query in queries]

    with monkeypatch.context() as broken:
        broken.setattr("service.blueprints.broadcasts._shown", lambda *_: 1 / 0)
        assert acme.post("/broadcast", json=order).status_code == 500
    assert count() == [0, 0]
    acme.make("/broadcast", **order)
    assert count() == [1, 1]


@pytest.mark.usefixtures("quick_starts")
def test_chaos_loses_nobody() -> None:
    faults = {"kill": (0.8, 1.2), "cut": (0.4, 0.7), "term": (0.8, 1.2), "postgres": (0.8, 1.2)}
    plan = Plan(
        database="postgres",
        engine="procrastinate",
        seconds=1.5,
        deliveries=400,
        faults=faults,
        away=(0.3, 0.8),
        lease=2.0,
        sweep_interval=0.5,
        grace=2.0,
        workers=1,
        dispatchers=1,
        patience=60.0,
    )
    report = run(plan)
    shown = "\n".join(report.lines())
    assert not report.faults_of_service, shown
    assert not report.failures, shown
    assert all(report.faults[name] for name in faults), shown
    assert sum(tally.accepted for tally in report.audit.tallies.values()) == 400, shown
