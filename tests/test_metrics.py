"""Metrics: right for one process and for several, in the face of any death."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest, values
from sqlalchemy import text

from service.config import Settings
from service.core import tokens
from service.core.deliveries import claims, transitions
from service.database import Database, now_ms
from service.metrics import Meters, meters
from service.models import DeliveryStatus
from tests.conftest import ROOT
from tests.programs import Program
from tests.readings import Samples, own, parsed, sums, value
from tests.waiting import LIMIT, until
from tests.world import World, numbers

BUCKET = "crier_send_seconds_bucket"

COUNTER = """
import sys
from pathlib import Path
from service.metrics import meters
meters.share(Path(sys.argv[1]))
meters.note(info := {}, "deliveries", ("sandbox", "sent"), int(sys.argv[2]))
meters.commit(info)
meters.attempted({"sandbox": [0.2]})
meters.retried("sandbox")
meters.tally()
meters.connection_taken()
print("counted", file=sys.stderr, flush=True)
sys.stdin.read()
"""


CRAMPED = """
import resource, sys
from pathlib import Path
from tests.readings import sums, value
from service.metrics import meters
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
folder = Path(sys.argv[1])
print(value(sums(folder), "crier_deliveries_total", channel="sandbox", status="sent"))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 600_000))
meters.share(folder)
print(meters.folder)
"""


@pytest.fixture
def world(settings: Settings, database: Database) -> World:
    world = World(settings, database)
    world.session()
    return world


@contextmanager
def counting(folder: Path, sent: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that has counted so many deliveries, until the end of the block."""
    command = [sys.executable, "-c", COUNTER, str(folder), str(sent)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == b"counted\n"
        yield process
        with suppress(BrokenPipeError):
            process.communicate()


def test_what_a_transaction_moved_counts_once_it_is_committed(world: World) -> None:
    broadcast_id = world.ready(numbers(3))
    before = own()
    claimed = world.claim(broadcast_id)
    outcomes = [
        transitions.Outcome(each.id, DeliveryStatus.SENT, 1, now_ms(), now_ms())
        for each in claimed.deliveries
    ]
    with suppress(ZeroDivisionError), world.database.writing() as db:
        transitions.record(db, claimed.id, outcomes, now=now_ms())
        raise ZeroDivisionError
    assert own() == before
    for _ in range(2):
        with world.database.writing() as db:
            transitions.record(db, claimed.id, outcomes, now=now_ms())
    sent = {"name": "crier_deliveries_total", "channel": "sandbox", "status": "sent"}
    assert value(own(), **sent) - value(before, **sent) == 3


def test_what_a_dead_process_held_is_counted_as_rescued(world: World) -> None:
    claimed = world.claim(world.ready(numbers(2)))
    before = own()
    with world.database.writing() as db:
        broadcast_id = claimed.deliveries[0].broadcast_id
        claims.rescue(db, claimed.id, broadcast_id, resend=False, now=now_ms())
    for name, labels in {
        "crier_rescued_total": {"outcome": "uncertain"},
        "crier_deliveries_total": {"channel": "sandbox", "status": "uncertain"},
    }.items():
        assert value(own(), name, **labels) - value(before, name, **labels) == 2


def test_a_connection_is_in_use_until_it_comes_back(database: Database) -> None:
    name = "crier_database_connections_in_use"
    before = value(own(), name)
    with database.engine.connect() as connection:
        assert value(own(), name) == before + 1
        connection.detach()
        assert value(own(), name) == before
    with database.reading() as db:
        db.execute(text("SELECT 1"))
        assert value(own(), name) == before + 1
    assert value(own(), name) == before


def test_many_attempts_are_counted_as_if_one_by_one() -> None:
    attempts = [0.001, 0.005, 0.0051, 0.3, 0.3, 29.9, 30.0, 31.0, 1000.0]
    before = own()
    for seconds in attempts:
        meters.attempted({"bulk": [seconds]})
    assert own() == before
    meters.retried("bulk")
    meters.retried("bulk")
    meters.tally()
    registry = CollectorRegistry()
    found = own()
    bounds = sorted(float(dict(labels)["le"]) for name, labels in found if name == BUCKET)
    one_by_one = Histogram(
        "crier_send_seconds", "", ["channel"], registry=registry, buckets=sorted({*bounds})
    )
    for seconds in attempts:
        one_by_one.labels("bulk").observe(seconds)
    for (name, labels), count in parsed(generate_latest(registry).decode()).items():
        if not name.endswith("_created"):
            assert found[name, labels] == count, labels
    assert value(found, "crier_retries_total", channel="bulk") == 2


def test_processes_are_added_up_and_a_death_takes_nothing_away(tmp_path: Path) -> None:
    sent = {"name": "crier_deliveries_total", "channel": "sandbox", "status": "sent"}
    with counting(tmp_path, 3), counting(tmp_path, 4) as victim:
        assert value(sums(tmp_path), **sent) == 7
        assert value(sums(tmp_path), "crier_database_connections_in_use") == 2
        victim.kill()
        victim.wait()
        assert value(sums(tmp_path), **sent) == 7
        assert value(sums(tmp_path), "crier_database_connections_in_use") == 1
        assert value(sums(tmp_path), "crier_send_seconds_count", channel="sandbox") == 2
    with counting(tmp_path, 5):
        assert value(sums(tmp_path), **sent) == 12
        assert value(sums(tmp_path), "crier_retries_total", channel="sandbox") == 3
        kinds = sorted(path.name.partition("_")[0] for path in tmp_path.glob("*.db"))
        assert kinds == ["counter", "counter", "gauge", "gauge", "histogram", "histogram"]
        assert len(list(tmp_path.glob("*.alive"))) == 1


def test_a_past_that_a_power_cut_has_broken_is_forgotten(tmp_path: Path) -> None:
    with counting(tmp_path, 3):
        pass
    sums(tmp_path)
    past = tmp_path / "counter_past.db"
    past.write_bytes(b"\xff\xff\x00\x00" + b"\x7f" * 100)
    with counting(tmp_path, 2):
        sent = value(sums(tmp_path), "crier_deliveries_total", channel="sandbox", status="sent")
        assert sent == 2
    assert not past.exists() or past.stat().st_size > 1000


def test_where_there_is_no_room_nothing_is_lost_and_nothing_half_made(tmp_path: Path) -> None:
    with counting(tmp_path, 3):
        pass
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-c", CRAMPED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    told = done.stdout.splitlines()
    assert (told[0], told[-1]) == ("3.0", "None")
    assert sorted(tmp_path.iterdir()) == before
    sent = {"name": "crier_deliveries_total", "channel": "sandbox", "status": "sent"}
    assert value(sums(tmp_path), **sent) == 3
    assert not list(tmp_path.glob("*.alive"))


def test_a_process_that_cannot_share_counts_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests run commands in this process, and those share.
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    in_the_way = tmp_path / "metrics"
    in_the_way.write_text("a file")
    alone = Meters()
    alone.share(in_the_way)
    alone.claimed(3, 0.1)
    assert alone.folder is None
    assert value(parsed(generate_latest(alone.registry).decode()), "crier_claim_seconds_count") == 1


def test_the_lag_of_a_loop_is_that_of_the_worst_and_ends_with_it() -> None:
    alone = Meters()
    alone.turn_due("claimer", -5.0)
    alone.turn_due("sweep", float("inf"))
    registry = CollectorRegistry()
    registry.register(alone)
    samples = parsed(generate_latest(registry).decode())
    assert value(samples, "crier_loop_lag_seconds", loop="claimer") >= 5
    assert ("crier_loop_lag_seconds", frozenset({("loop", "sweep")})) not in samples


class Server:
    """gunicorn with two workers on a Unix socket, and a dispatcher beside it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.data = folder / "s", folder / "data"
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.environment = kept | {
            "BIND": f"unix:{self.path}",
            "DATABASE_URL": "",
            "DATABASE_TIMEOUT": str(LIMIT),
            "DATA_DIR": str(self.data),
            "DISPATCH": "off",
            "LOG_LEVEL": "ERROR",
            "METRICS_TOKEN": "m",
            "WEB_CONCURRENCY": "2",
        }

    def run(self, *words: str) -> Program:
        return Program(words, ROOT, self.environment)

    def ask(self, method: str, path: str, token: str, body: bytes | None = None) -> Any:
        connection = http.client.HTTPConnection("localhost", timeout=LIMIT)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(LIMIT)
        with closing(connection):
            connection.sock.connect(str(self.path))
            connection.request(method, path, body, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            content = answer.read().decode()
        assert answer.status < 300, content
        return content

    def samples(self) -> Samples:
        return parsed(self.ask("GET", "/metrics", "m"))

    def value(self, name: str, **labels: str) -> float:
        return value(self.samples(), name, **labels)

    def make_client(self) -> str:
        """Make a client with a session and return its token."""
        settings = Settings(data_dir=self.data)
        database = Database(settings)
        world = World(settings, database)
        world.session()
        with database.writing() as db:
            secret = tokens.create(db, world.client_id, "test", ["admin"], None)[1]
        database.dispose()
        return secret

    def living(self) -> set[str]:
        """Return the processes that count, by their marks."""
        return {path.stem for path in (self.data / "metrics").glob("*.alive")}

    def answers(self) -> bool:
        with suppress(OSError):
            return bool(self.ask("GET", "/healthz", "m"))
        return False


@pytest.fixture
def server(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("m")
    (folder / "data").mkdir()
    (folder / "data" / "crier.db").write_bytes(sqlite_template.read_bytes())
    return Server(folder)


@contextmanager
def ending(process: Program) -> Iterator[Program]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait(LIMIT)


def test_two_workers_and_a_dispatcher_are_one_sum_whoever_answers(server: Server) -> None:
    token = server.make_client()
    contacts = {"method": "GET", "route": "/contact", "status": "200"}
    sent = {"channel": "sandbox", "status": "sent"}
    with ending(server.run("gunicorn", "wsgi:app")) as web:
        until(server.answers)
        with ending(server.run("flask", "--app", "wsgi", "dispatch")) as dispatcher:
            for _ in range(40):
                server.ask("GET", "/contact", token)
            order = {"send_type": "individual", "to": numbers(30), "message": {"text": "Hello"}}
            server.ask("POST", "/broadcast", token, json.dumps(order).encode())
            until(lambda: server.value("crier_deliveries_total", **sent) == 30)
            for _ in range(20):
                assert server.value("crier_requests_total", **contacts) == 40
            assert server.value("crier_loop_lag_seconds", loop="claimer") < LIMIT
            dispatcher.kill()
        samples = server.samples()
        assert value(samples, "crier_deliveries_total", **sent) == 30
        assert value(samples, "crier_claimed_deliveries_total") >= 30
        assert value(samples, "crier_send_seconds_count", channel="sandbox") >= 30
        assert not [name for name, _ in samples if name.startswith("crier_loop_lag")]
        before = server.living()
        web.send_signal(signal.SIGHUP)
        until(lambda: server.samples() and not before & server.living())
        assert server.value("crier_requests_total", **contacts) == 40
