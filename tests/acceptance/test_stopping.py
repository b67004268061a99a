"""What an operator reads while a process stops that has sends under way."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from service.app import create_app
from service.config import Settings
from tests.provider import Provider, once
from tests.sending import Sending
from tests.serving import Process, Server, running
from tests.waiting import LIMIT, until

SAID = "Finishing messages that are being sent; this takes 25 seconds at most."


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
