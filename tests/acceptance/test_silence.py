"""The service, as an operator runs it, on a Postgres that is connected and answers nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import pytest

from service.config import Settings
from service.core import tokens
from service.core.tokens import Scope
from service.database import Database
from tests import postgres
from tests.conftest import migrate
from tests.serving import Server, running
from tests.waiting import LIMIT, until
from tests.world import ADA, World, numbers

TIMEOUT = 0.5
LATE = 20.0
"""Seconds after which an answer counts as none, on a machine with much else to do."""
ID = "0" * 32
BODY = f'{{"send_type": "individual", "to": "{ADA}", "message": {{"text": "Hello"}}}}'
ROUTES = [
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/broadcast"),
    ("GET", "/broadcast"),
    ("GET", "/contact"),
    ("GET", "/sandbox/message"),
    ("POST", "/session"),
    ("DELETE", "/group/{id}"),
    ("POST", "/broadcast/{id}/retry"),
    ("POST", "/webhook/{id}"),
]


class Answer(NamedTuple):
    status: int
    seconds: float


class Client:
    """A caller that measures how long each answer takes."""

    def __init__(self, server: Server, token: str, known_id: str) -> None:
        self._port, self._id = server.port, known_id
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=LIMIT)
        began = time.monotonic()
        connection.request(method, path.format(id=self._id), BODY, self._headers)
        status = connection.getresponse().status
        connection.close()
        return Answer(status, time.monotonic() - began)


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    with postgres.started(postgres.Cluster()) as cluster:
        yield cluster


@pytest.fixture
def world(cluster: postgres.Cluster, tmp_path: Path) -> Iterator[World]:
    settings = Settings(database_url=cluster.url, data_dir=tmp_path, database_timeout=LIMIT)
    database = Database(settings)
    migrate(database)
    yield World(settings, database)
    database.dispose()


def test_every_route_answers_in_time_and_all_is_well_when_the_server_goes_on(
    world: World, cluster: postgres.Cluster
) -> None:
    world.session(settings={"latency": 0.01})
    with world.database.writing() as db:
        token = tokens.create(db, world.client_id, "test", [Scope.ADMIN])[1]
    server = Server(world.settings, DATABASE_TIMEOUT=str(TIMEOUT), METRICS_TOKEN="")
    with running(server):
        broadcast_id = world.broadcast(numbers(500))
        client = Client(server, token, broadcast_id)
        until(lambda: world.get(broadcast_id).sent > 100)
        with cluster.silent():
            crowd(client)
            for method, path in ROUTES:
                answer = client.ask(method, path)
                assert answer.seconds < LATE, (method, path)
                assert answer.status == (200 if path == "/metrics" else 503), (method, path)
                assert client.ask("GET", "/healthz").status == 200
        until(lambda: client.ask("GET", "/readyz").status == 200)
        world.database.dispose()
        # So short a timeout now and then ends a request on a machine with much else to do.
        until(lambda: [client.ask("POST", "/broadcast").status for _ in range(20)] == [201] * 20)
        world.await_status(broadcast_id, "completed")
        assert world.statuses(broadcast_id) == {"sent": 500}


def crowd(client: Client) -> None:
    """Have twice as many callers as there are threads, all at once; the process answers after."""
    answers: list[Answer] = []
    callers = [
        threading.Thread(target=lambda: answers.append(client.ask("GET", "/broadcast")))
        for _ in range(16)
    ]
    for caller in callers:
        caller.start()
    alive = client.ask("GET", "/healthz")
    for caller in callers:
        caller.join()
    assert {answer.status for answer in answers} == {503}
    assert alive.status == 200
    assert max(alive.seconds, *(answer.seconds for answer in answers)) < LATE
