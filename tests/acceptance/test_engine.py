"""Stories of the engine `procrastinate`: real workers, and what may happen to them."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text

from benchmarks.chaos.plan import Plan
from benchmarks.chaos.run import run
from service.app import Application
from service.config import Settings
from service.database import Database, now_ms
from service.dispatch import engine
from service.models import FOREVER
from tests import workers
from tests.conftest import Tenant
from tests.waiting import LIMIT, until
from tests.workers import on_postgres, queued, worker
from tests.world import ADA, GRACE, World, numbers

MakeApp = Callable[..., Application]

FAILS_ONCE, THROTTLED = "12025550102", "12025550103"
"""Recipients of the sandbox: the second is refused with a wait of three seconds."""


CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname"


@pytest.fixture
def queue(settings: Settings) -> Iterator[World]:
    """Return a world whose broadcasts leave jobs, and no worker."""
    with queued(settings) as world:
        yield world


def slow(world: World, **fields: Any) -> str:
    """Create a session that takes a while for each message, so that there is a middle."""
    return world.session(settings={"latency": 0.02, **fields})


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
    name = database.url.database
    with admin.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute(text(f"{CUT} = :name"), {"name": name})
        yield
        connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    database.dispose()


def is_at_rest(world: World) -> bool:
    return not workers.jobs(world)


@on_postgres
def test_two_workers_deliver_a_broadcast_to_everybody_exactly_once(queue: World) -> None:
    slow(queue, idempotent=False)
    to = numbers(2_000)
    with worker(queue), worker(queue):
        broadcast_id = queue.broadcast(to)
        queue.await_status(broadcast_id, "completed")
        until(lambda: is_at_rest(queue))
    assert copies(queue) == Counter(to)
    assert queue.statuses(broadcast_id) == {"sent": 2_000}
    queue.assert_counters_equal_rows([broadcast_id])


@on_postgres
@pytest.mark.parametrize("recipients", [900, 2_000], ids=["one lane", "two lanes"])
def test_when_a_worker_is_killed_another_one_finishes(queue: World, recipients: int) -> None:
    slow(queue)
    to = numbers(recipients)
    with worker(queue) as one, worker(queue) as two:
        broadcast_id = queue.broadcast(to)
        until(lambda: sent(queue, broadcast_id) > 100)
        victim = sender(queue)
        killed = next(process for process in (one, two) if process.pid == victim)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert sent(queue, broadcast_id) < recipients
        queue.await_status(broadcast_id, "completed")
    assert copies(queue) == Counter(to)
    queue.assert_counters_equal_rows([broadcast_id])


@on_postgres
def test_a_worker_that_is_asked_to_end_leaves_the_rest_to_another_at_once(queue: World) -> None:
    slow(queue, idempotent=False)
    to = numbers(900)
    with worker(queue) as first:
        broadcast_id = queue.broadcast(to)
        until(lambda: sent(queue, broadcast_id) > 100)
        first.send_signal(signal.SIGTERM)
        assert first.wait() == 0
        assert 100 < sent(queue, broadcast_id) < 900
        assert "sending" not in queue.statuses(broadcast_id)
        [job] = workers.jobs(queue)
        assert (job.status, job.scheduled_at) == ("todo", None)
        assert workers.workers(queue) == []
    with worker(queue):
        queue.await_status(broadcast_id, "completed")
    assert copies(queue) == Counter(to)


@on_postgres
def test_a_scheduled_broadcast_is_sent_when_its_time_has_come(queue: World) -> None:
    queue.session()
    send_at = now_ms() + 2_000
    with worker(queue):
        broadcast_id = queue.broadcast(ADA, send_at=send_at)
        queue.await_status(broadcast_id, "completed")
    [message] = queue.received()
    assert message["received_at"] >= send_at


@on_postgres
def test_what_has_to_wait_for_another_attempt_is_taken_up_again(queue: World) -> None:
    queue.session()
    with worker(queue):
        broadcast_id = queue.broadcast([ADA, FAILS_ONCE, THROTTLED])
        until(lambda: sent(queue, broadcast_id) == 1)
        until(lambda: [job for job in workers.jobs(queue) if job.name.endswith("+")])
        queue.await_status(broadcast_id, "completed")
    assert {each.recipient: each.attempts for each in queue.deliveries(broadcast_id)} == {
        ADA: 1,
        FAILS_ONCE: 2,
        THROTTLED: 2,
    }
    assert copies(queue) == Counter([ADA, FAILS_ONCE, THROTTLED])


@on_postgres
def test_a_paused_broadcast_leaves_the_workers_until_it_is_resumed(queue: World) -> None:
    slow(queue, idempotent=False)
    to = numbers(1_500)
    with worker(queue):
        broadcast_id = queue.broadcast(to)
        until(lambda: sent(queue, broadcast_id) > 100)
        workers.pause(queue, broadcast_id)
        until(lambda: is_at_rest(queue))
        until(lambda: "sending" not in queue.statuses(broadcast_id))
        assert sent(queue, broadcast_id) < 1_500
        workers.resume(queue, broadcast_id)
        queue.await_status(broadcast_id, "completed")
    assert copies(queue) == Counter(to)


@on_postgres
def test_what_waited_for_a_session_goes_on_when_that_is_mended(queue: World) -> None:
    session_id = queue.session()
    queue.tell("UPDATE sessions SET held_until = :end", end=FOREVER)
    with worker(queue):
        broadcast_id = queue.broadcast(ADA)
        until(lambda: is_at_rest(queue))
        queue.tell("UPDATE sessions SET held_until = 0 WHERE id = :id", id=session_id)
        queue.await_status(broadcast_id, "completed")


@on_postgres
def test_a_worker_goes_on_when_its_connections_were_cut(queue: World) -> None:
    slow(queue)
    to = numbers(2_000)
    with worker(queue) as process:
        broadcast_id = queue.broadcast(to)
        until(lambda: sent(queue, broadcast_id) > 100)
        assert queue.ask(f"{CUT} = current_database() AND pid <> pg_backend_pid()")
        queue.database.dispose()
        queue.await_status(broadcast_id, "completed")
        second = queue.broadcast(GRACE)
        queue.await_status(second, "completed")
        until(lambda: is_at_rest(queue))
        assert process.poll() is None
    assert copies(queue) == Counter([*to, GRACE])


@on_postgres
def test_a_worker_goes_on_when_its_database_was_away(
    settings: Settings, postgres_server: str
) -> None:
    to = numbers(2_000)
    with queued(settings, database_timeout=1.0) as queue, worker(queue) as process:
        slow(queue)
        broadcast_id = queue.broadcast(to)
        until(lambda: sent(queue, broadcast_id) > 100)
        with away(queue.database, postgres_server):
            until(lambda: "the worker broke off" in workers.log(queue).read_text())
        queue.await_status(broadcast_id, "completed")
        second = queue.broadcast(GRACE)
        queue.await_status(second, "completed")
        until(lambda: is_at_rest(queue))
        assert process.poll() is None
        assert copies(queue) == Counter([*to, GRACE])


@on_postgres
def test_a_worker_can_be_stopped_while_its_database_is_away(
    settings: Settings, postgres_server: str
) -> None:
    with queued(settings, database_timeout=1.0, grace=2.0) as queue, worker(queue) as process:
        slow(queue)
        broadcast_id = queue.broadcast(numbers(2_000))
        until(lambda: sent(queue, broadcast_id) > 100)
        with away(queue.database, postgres_server):
            until(lambda: "out of reach" in workers.log(queue).read_text())
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT) in {0, 1}


@on_postgres
def test_a_small_broadcast_does_not_wait_for_a_large_one(queue: World) -> None:
    slow(queue)
    with worker(queue):
        large = queue.broadcast(numbers(6_000))
        until(lambda: sent(queue, large) > 100)
        small = queue.broadcast([ADA, GRACE])
        queue.await_status(small, "completed")
        assert queue.get(large).status == "sending"


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


def test_chaos_loses_nobody() -> None:
    faults = {"kill": (0.8, 1.4), "cut": (0.4, 0.8), "term": (1.0, 1.6), "postgres": (0.8, 1.6)}
    plan = Plan(
        database="postgres",
        engine="procrastinate",
        seconds=3.5,
        deliveries=1_000,
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
    assert sum(tally.accepted for tally in report.audit.tallies.values()) == 1_000, shown
