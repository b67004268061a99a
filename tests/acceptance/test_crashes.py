"""Whoever is killed in between, nobody is lost and nobody gets it twice."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from service import logs
from service.channels.drivers import sandbox
from service.config import Settings
from service.core import tokens
from service.core.tokens import Scope
from service.database import Database
from tests.conftest import on_postgres, on_sqlite
from tests.serving import Process, Server, running
from tests.waiting import LIMIT, until
from tests.world import World, numbers


@pytest.fixture
def world(settings: Settings, database: Database) -> World:
    logs.configure(settings)
    return World(settings, database)


def slow(world: World, latency: float = 0.5, **settings: Any) -> str:
    """Create a session that takes many seconds for a thousand, so that there is a middle."""
    return world.session(settings={"latency": latency, **settings}, concurrency=64)


@pytest.fixture
def token(world: World) -> str:
    with world.database.writing() as db:
        return tokens.create(db, world.client_id, "test", [Scope.SEND])[1]


def post(server: Server, token: str, to: list[str]) -> str:
    """Post a broadcast and return its id; each recipient has a name of their own."""
    people = [{"to": each, "variables": {"name": f"N{each}"}} for each in to]
    text = "Hello {{name}}"
    body = {"send_type": "individual", "to": people, "message": {"text": text}}
    status, answer = server.ask("POST", "/broadcast", token, body)
    assert status == 201, answer
    return str(answer["data"]["_id"])


class Arrivals:
    """What has arrived in the sandbox's own store from one session."""

    def __init__(self, world: World, session_id: str) -> None:
        self._store = world.settings.sandbox_store
        self._session_id = session_id

    def count(self) -> int:
        return sandbox.received(self._store, [self._session_id], 0, 0)[0]

    def await_count(self, count: int) -> None:
        until(lambda: self.count() >= count)

    def by_recipient(self) -> Counter[str]:
        messages = sandbox.received(self._store, [self._session_id], 0, 1_000_000)[1]
        for message in messages:  # nobody got what was meant for somebody else
            assert message["body"]["body"] in {"Hello", f"Hello N{message['recipient']}"}
        return Counter(message["recipient"] for message in messages)


def assert_all_sent_once(world: World, arrivals: Arrivals, broadcast_id: str, count: int) -> None:
    world.await_status(broadcast_id, "completed")
    assert arrivals.by_recipient() == dict.fromkeys(numbers(count), 1)
    assert world.statuses(broadcast_id) == {"sent": count}
    world.assert_counters_equal_rows([broadcast_id])


def test_a_thousand_are_sent_once_though_the_dispatcher_is_killed_twice(
    world: World, token: str
) -> None:
    count, kills = 1_000, 2
    arrivals = Arrivals(world, world.session())
    server = Server(world.settings, "--preload")
    with running(server):
        broadcast_id = post(server, token, numbers(count))
        for kill in range(kills):
            arrivals.await_count((kill + 1) * count // (kills + 1))
            server.kill_dispatcher()
        assert_all_sent_once(world, arrivals, broadcast_id, count)


@on_postgres
def test_everybody_is_sent_once_though_all_of_gunicorn_is_killed(world: World, token: str) -> None:
    count = 1_000
    arrivals = Arrivals(world, session_id := slow(world))
    server = Server(world.settings, LEASE="2")
    with running(server):
        broadcast_id = post(server, token, numbers(count))
        arrivals.await_count(64)
        server.kill()
    assert world.get(broadcast_id).status == "sending"
    world.change(session_id, settings={"latency": 0.01}, concurrency=None)
    # A killed process that nobody waits for keeps its number, and is told by its silence alone.
    with dispatching(world, lease=2.0):
        assert_all_sent_once(world, arrivals, broadcast_id, count)


@on_sqlite
@pytest.mark.parametrize("killed", ["master", "worker"])
def test_who_is_left_without_its_parent_ends_and_another_process_goes_on(
    world: World, token: str, killed: str
) -> None:
    count = 1_000
    arrivals = Arrivals(world, world.session(settings={"idempotent": False, "latency": 0.01}))
    server = Server(world.settings)
    with running(server):
        broadcast_id = post(server, token, numbers(count))
        arrivals.await_count(count // 10)
        (worker,), (dispatcher,) = server.children(), server.dispatchers()
        os.kill(server.pid if killed == "master" else worker, signal.SIGKILL)
        # gunicorn starts another worker; nobody starts another gunicorn.
        with dispatching(world) if killed == "master" else nullcontext():
            assert_all_sent_once(world, arrivals, broadcast_id, count)
        until(lambda: not is_running(worker) and not is_running(dispatcher))


@on_sqlite
def test_a_worker_begins_anew_when_its_dispatcher_was_killed(world: World) -> None:
    server = Server(world.settings)
    with running(server):
        (worker,), (killed,) = server.children(), server.dispatchers()
        server.kill_dispatcher()
        until(lambda: not is_running(worker))
        until(server.is_ready)
        assert server.dispatchers() != [killed]


@on_postgres
def test_what_a_killed_dispatcher_had_under_way_is_held_where_a_repeat_would_do_harm(
    world: World, token: str
) -> None:
    count, kills, in_flight, flush_batch = 1_000, 2, 16, 20
    arrivals = Arrivals(world, world.session(settings={"idempotent": False, "latency": 0.01}))
    limits = {"IN_FLIGHT": str(in_flight), "FLUSH_BATCH": str(flush_batch)}
    server = Server(world.settings, "--preload", **limits)
    with running(server):
        broadcast_id = post(server, token, numbers(count))
        for kill in range(kills):
            arrivals.await_count((kill + 1) * count // 4)
            server.kill_dispatcher()
        world.await_status(broadcast_id, "completed")
    rows = world.deliveries(broadcast_id)
    assert {row.code for row in rows} <= {None, "process_died"}
    # Of a thousand that each of them had claimed: what was on its way, and what was not written.
    uncertain = [row for row in rows if row.status == "uncertain"]
    assert len(uncertain) <= kills * (in_flight + 2 * flush_batch)
    arrived = arrivals.by_recipient()
    assert max(arrived.values()) == 1
    assert {row.recipient for row in rows if row.status == "sent"} <= arrived.keys()
    assert len(arrived) >= count - len(uncertain)
    world.assert_counters_equal_rows([broadcast_id])


@on_sqlite
def test_a_service_told_to_end_in_mid_run_loses_nothing_and_repeats_nothing(
    world: World, token: str
) -> None:
    count = 1_000
    session_id = slow(world, idempotent=False)
    arrivals = Arrivals(world, session_id)
    server = Server(world.settings, GRACEFUL_TIMEOUT="60")
    with running(server):
        broadcast_id = post(server, token, numbers(count))
        arrivals.await_count(64)
        # Ends by itself: gunicorn kills a worker that is late, and says so by its exit status.
        assert server.terminate(limit=2 * LIMIT) == 0
    assert arrivals.count() < count
    assert world.statuses(broadcast_id) == {
        "sent": arrivals.count(),
        "queued": count - arrivals.count(),
    }
    assert world.ask("SELECT id FROM dispatchers") == []
    world.assert_counters_equal_rows([broadcast_id])
    world.change(session_id, settings={"idempotent": False}, concurrency=None)
    with dispatching(world):
        assert_all_sent_once(world, arrivals, broadcast_id, count)


@on_sqlite
def test_a_dispatcher_told_to_end_between_two_parts_leaves_the_second_one_to_another(
    world: World,
) -> None:
    session_id = world.session(settings={"idempotent": False}, rate=0.1)
    message = {"text": "Hello", "location": {"lat": "6.55", "lng": "3.27"}}
    dispatcher = Process(world.settings, "flask", "--app", "wsgi", "dispatch")
    with running(dispatcher):
        broadcast_id = world.broadcast(numbers(1), message=message)
        until(world.received)
        # Its second part has its slot ten seconds later.
        assert dispatcher.terminate() == 0
    (first,) = world.received()
    (row,) = world.deliveries(broadcast_id)
    assert (row.status, row.attempts, row.message_ids) == ("queued", 0, first["message_id"])
    world.change(session_id, rate=None)
    with dispatching(world):
        world.await_status(broadcast_id, "completed")
    assert [each["kind"] for each in world.received()] == ["text", "location"]
    world.assert_counters_equal_rows([broadcast_id])


@on_postgres
def test_a_frozen_dispatcher_that_wakes_after_its_lease_sends_nobody_again(world: World) -> None:
    count = 1_500
    session_id = slow(world, 1.0, idempotent=False)
    arrivals = Arrivals(world, session_id)
    url = f"{world.settings.database_url}&application_name=frozen"
    command = ("flask", "--app", "wsgi", "dispatch")
    frozen = Process(world.settings, *command, LEASE="2", DATABASE_URL=url)
    with running(frozen), dispatching(world, lease=2.0):
        until(lambda: dispatchers_of(world, frozen.pid))
        broadcast_id = world.broadcast(numbers(count))
        freeze(world, frozen)
        until(lambda: dispatchers_of(world, frozen.pid) == [])
        until(lambda: world.statuses(broadcast_id).get("uncertain"))
        held = world.statuses(broadcast_id)["uncertain"]
        world.change(session_id, settings={"idempotent": False}, concurrency=None)
        os.kill(frozen.pid, signal.SIGCONT)
        until(lambda: dispatchers_of(world, frozen.pid))
        world.await_status(broadcast_id, "completed")
        assert frozen.terminate() == 0
    assert world.ask("SELECT id FROM dispatchers") == []
    rows = world.deliveries(broadcast_id)
    assert {row.status for row in rows} == {"sent", "uncertain"}
    assert sum(row.status == "uncertain" for row in rows) >= held
    arrived = arrivals.by_recipient()
    assert max(arrived.values()) == 1
    assert {row.recipient for row in rows if row.status == "sent"} <= arrived.keys()
    world.assert_counters_equal_rows([broadcast_id])


@on_postgres
def test_workers_forked_from_one_that_had_all_loaded_come_and_go_without_loss(
    world: World, token: str
) -> None:
    count = 2_000
    settings = {"idempotent": False, "latency": 0.5}
    session_id = world.session(settings=settings, concurrency=16)
    arrivals = Arrivals(world, session_id)
    server = Server(world.settings, "--preload", "--workers", "2", "--max-requests", "10")
    with running(server):
        broadcast_id = post(server, token, numbers(count))
        until(lambda: len(world.ask("SELECT id FROM dispatchers")) == 2)
        workers: set[int] = set()
        while world.get(broadcast_id).status == "sending" and len(workers) < 4:
            workers.update(server.children())
            server.is_ready()
        assert len(workers) >= 4
        world.change(session_id, settings={**settings, "latency": 0.002})
        assert_all_sent_once(world, arrivals, broadcast_id, count)
        assert server.terminate() == 0
    assert world.ask("SELECT id FROM dispatchers") == []


@contextmanager
def dispatching(world: World, **changes: float) -> Iterator[None]:
    """Dispatch in the process of the test."""
    dispatcher = world.dispatcher(poll_interval=0.1, sweep_interval=0.3, **changes)
    dispatcher.start()
    yield
    assert dispatcher.stop(LIMIT)


def freeze(world: World, process: Process) -> None:
    """Stop a process at a moment when it has claims and keeps no lock.

    One that is stopped while it writes to an SQLite file keeps everybody else from writing: no
    other process of the machine could do anything then but wait.
    """
    while True:
        until(lambda: has_claims(world, process.pid))
        os.kill(process.pid, signal.SIGSTOP)
        if has_claims(world, process.pid) and not keeps_a_lock(world):
            break
        os.kill(process.pid, signal.SIGCONT)


def has_claims(world: World, pid: int) -> bool:
    """Tell whether a process is sending something."""
    claimed = """SELECT 1 FROM deliveries JOIN dispatchers ON dispatchers.id = claim_id
                 WHERE status = 'sending' AND pid = :pid LIMIT 1"""
    return bool(world.ask(claimed, pid=pid))


def keeps_a_lock(world: World) -> bool:
    """Tell whether the frozen process has an unfinished transaction, or the sandbox's file."""
    mine = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'frozen' AND state"
    assert world.ask(f"{mine} IS NOT NULL")
    # A statement that the server has already got ends without its client.
    until(lambda: not world.ask(f"{mine} = 'active'"))
    if world.ask(f"{mine} LIKE 'idle in transaction%'"):
        return True
    store = sqlite3.connect(world.settings.sandbox_store, timeout=0.2, isolation_level=None)
    with closing(store) as kept:
        try:
            kept.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        kept.execute("ROLLBACK")
    return False


def dispatchers_of(world: World, pid: int) -> list[str]:
    return [row.id for row in world.ask("SELECT id FROM dispatchers WHERE pid = :pid", pid=pid)]


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no mere entry in the table of processes."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
