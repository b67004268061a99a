"""What an operator reads while a process stops that has sends under way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from service.app import create_app
from service.channels.drivers import sandbox
from service.config import Settings
from service.core.tokens import Scope
from tests.conftest import Tenant
from tests.serving import Process, running
from tests.waiting import LIMIT, until

SAID = "Finishing the sends under way; this takes 25 seconds at most."


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> Settings:
    (tmp_path / "crier.db").write_bytes(sqlite_template.read_bytes())
    return Settings(data_dir=tmp_path, dispatch="off")


def post_slow_broadcast(settings: Settings) -> None:
    """Accept a broadcast to one recipient whose provider takes 4 seconds."""
    app = create_app(settings)
    acme = Tenant(app, "Acme", Scope.ADMIN)
    acme.make("/session", name="slow", channel="sandbox", settings={"latency": 4.0})
    order = {"send_type": "individual", "to": "12025550110", "message": {"text": "Hello"}}
    acme.make("/broadcast", **order)
    app.extensions["crier"].database.dispose()


def session_ids(settings: Settings) -> list[str]:
    with closing(sqlite3.connect(settings.data_dir / "crier.db")) as database:
        return [row[0] for row in database.execute("SELECT id FROM sessions")]


def count(settings: Settings, status: str) -> int:
    with closing(sqlite3.connect(settings.data_dir / "crier.db")) as database:
        query = "SELECT count(*) FROM deliveries WHERE status = ?"
        return int(database.execute(query, [status]).fetchone()[0])


def test_ctrl_c_says_what_is_waited_for(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    post_slow_broadcast(settings)
    process = Process(settings, "flask", "--app", "wsgi", "dispatch")
    with running(process):
        # The sandbox has it, and has not answered yet.
        until(lambda: sandbox.received(settings.sandbox_store, session_ids(settings))[0])
        process.interrupt()
        assert process.wait(LIMIT) == 0
    said = "".join(capfd.readouterr())
    assert SAID in said
    assert count(settings, "sent") == 1
