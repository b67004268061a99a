"""How a process stops that has sends under way, or requests that have not come."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from service.app import create_app
from service.config import Settings
from tests.provider import Provider, once
from tests.sending import Sending
from tests.serving import Process, Server, running
from tests.waiting import LIMIT, until

SAID = "Finishing messages that are being sent; this takes 25 seconds at most."

BODY_BEGUN = "POST /contact HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{{"
BEGUN = {
    "": b"",
    "GET /healthz HTTP/1.1\r\nHost:": b"HTTP/1.1 503",
    BODY_BEGUN.format(length=20): b"HTTP/1.1 503",
    # A thread reads this one, and nobody but its client gets to know more.
    BODY_BEGUN.format(length=100_000): b"HTTP/1.1 401",
}


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> Settings:
    shutil.copy(sqlite_template, tmp_path / "crier.db")
    return Settings(data_dir=tmp_path, dispatch="off", private_addresses=True)


def post_broadcast(settings: Settings, provider: Provider) -> None:
    """Accept a broadcast to one recipient."""
    app = create_app(settings)
    sending = Sending(app, provider)
    sending.broadcast(["12025550110"], sending.session())
    app.extensions["crier"].database.dispose()


def count(settings: Settings, status: str) -> int:
    with closing(sqlite3.connect(settings.data_dir / "crier.db")) as database:
        query = "SELECT count(*) FROM deliveries WHERE status = ?"
        return int(database.execute(query, [status]).fetchone()[0])


@pytest.mark.parametrize("kind", ["gunicorn", "flask dispatch"])
def test_ctrl_c_says_what_is_waited_for(
    settings: Settings, provider: Provider, kind: str, tmp_path: Path
) -> None:
    answering = threading.Event()
    provider.then(once(answering.is_set))
    post_broadcast(settings, provider)
    process = (
        Server(settings, DISPATCH="threads", PRIVATE_ADDRESSES="true")
        if kind == "gunicorn"
        else Process(settings, "flask", "--app", "wsgi", "dispatch", PRIVATE_ADDRESSES="true")
    )
    said = tmp_path / "said"
    with said.open("wb") as process.output, running(process):
        until(lambda: provider.messages)
        process.interrupt()
        until(lambda: SAID in said.read_text())
        answering.set()
        assert process.wait(LIMIT) == 0
    assert count(settings, "sent") == 1


def test_nobody_who_sends_only_a_part_of_a_request_holds_up_a_stop(settings: Settings) -> None:
    server = Server(settings, DISPATCH="off", GRACEFUL_TIMEOUT=f"{10 * LIMIT:.0f}")
    with running(server), ExitStack() as stack:
        clients: list[tuple[str, socket.socket]] = []
        for begun in [*BEGUN] * 2:
            address = ("127.0.0.1", server.port)
            client = stack.enter_context(socket.create_connection(address, LIMIT))
            client.sendall(begun.encode())
            clients.append((begun, client))
        until(lambda: server.ask("GET", "/readyz")[0] == 200)
        assert server.terminate() == 0
        told = [(begun, client.recv(12)) for begun, client in clients]
    assert told == [*BEGUN.items()] * 2
