"""What an operator reads when the service cannot start: a sentence, once, and no trace."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select

from service.app import create_app
from service.config import Settings
from service.database import Database
from service.models import Dispatcher
from tests.conftest import ROOT, Tenant
from tests.serving import Server, environment, running
from tests.waiting import LIMIT, until

GUNICORN = ("gunicorn", "wsgi:app")
CLIENTS = ("flask", "--app", "wsgi", "client", "list")


def start(command: tuple[str, ...], folder: Path, **changes: str) -> tuple[int, str]:
    """Return the exit status of a command, and what it complained of."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**environment(Settings(data_dir=folder)), "PORT": "0", **changes},
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "change", "named"),
    [
        (GUNICORN, {"DATA_DIR": "/proc/nowhere"}, "/proc/nowhere: "),
        (CLIENTS, {"DATA_DIR": "README.md"}, "DATA_DIR"),
        (GUNICORN, {"DATABASE_URL": "nonsense"}, "DATABASE_URL"),
        (GUNICORN, {"SECRET_KEY": "secret"}, "SECRET_KEY"),
        (CLIENTS, {"LANES": "few"}, "LANES"),
        (GUNICORN, {"PORT": "8000000"}, "PORT"),
    ],
)
def test_a_setting_that_cannot_work_ends_the_start_with_its_name(
    command: tuple[str, ...], change: dict[str, str], named: str, tmp_path: Path
) -> None:
    status, said = start(command, tmp_path, **change)
    assert status != 0
    [line] = [line for line in said.splitlines() if line.startswith("Crier cannot start: ")]
    assert named in line


@pytest.mark.parametrize("name", ["WEB_THREADS", "GRACEFUL_TIMEOUT"])
def test_a_number_that_is_none_ends_gunicorn_with_its_name(name: str, tmp_path: Path) -> None:
    status, said = start(GUNICORN, tmp_path, **{name: "many"})
    assert status != 0
    assert f"{name} must be a whole number" in said


def test_a_migration_that_goes_well_has_nothing_to_say(tmp_path: Path) -> None:
    assert start(("flask", "--app", "wsgi", "migrate"), tmp_path) == (0, "")


class Waiting(Server):
    """A server that is up, though not ready."""

    def is_ready(self) -> bool:
        with suppress(OSError):
            return self.ask("GET", "/readyz")[0] == 503
        return False


def test_web_workers_start_without_tables_and_serve_once_they_are_there(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    server = Waiting(settings)
    with running(server):
        status, answer = server.ask("GET", "/broadcast", token="crier_0")
        assert (status, "make migrate" in answer["message"]) == (503, True)
        subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", "migrate"],
            cwd=ROOT,
            env=environment(settings),
            check=True,
        )
        until(lambda: server.ask("GET", "/readyz")[0] == 200)


def test_a_process_with_another_key_names_the_sessions_it_cannot_open_and_sends_nothing(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    app = create_app(replace(settings, secret_key=old))
    waha = {"base_url": "https://waha.example", "api_key": "waha-key"}
    made = Tenant(app, "Acme").make("/session", name="phone", channel="waha", settings=waha)
    app.extensions["crier"].database.dispose()
    server = Waiting(settings, SECRET_KEY=new, DISPATCH="threads")
    with running(server):
        _, answer = server.ask("GET", "/readyz")
        assert list(answer["errors"]) == ["keys"]
        assert made["_id"] in answer["errors"]["keys"][0]
    assert f"phone ({made['_id']})" in capfd.readouterr().err
    database = Database(settings)
    with database.reading() as db:
        assert db.scalars(select(Dispatcher)).all() == []
    database.dispose()
    with running(Server(settings, SECRET_KEY=f"{new},{old}", DISPATCH="threads")):
        pass


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("GET /?access_token=crier_canary HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (f"GET /{'x' * 9000} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        ("GET / HTTP/1.1\r\n" + "X: y\r\n" * 110 + "\r\n", 431),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: y\r\n\r\n", 501),
    ],
)
def test_gunicorn_refuses_what_is_no_request_in_the_envelope(
    web: Waiting, capfd: pytest.CaptureFixture[str], request_: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=LIMIT) as client:
        client.sendall(request_.encode())
        answer = HTTPResponse(client)
        answer.begin()
        assert answer.status == status
        assert json.load(answer)["status"] is False
    assert "canary" not in "".join(capfd.readouterr())


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    server = Waiting(Settings(data_dir=tmp_path_factory.mktemp("web")))
    with running(server):
        yield server
