"""The files in deploy/, run as they are but for addresses and paths: nginx in front of gunicorn."""

from __future__ import annotations

import http.client
import json
import re
import runpy
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.config import MIB, Settings
from service.demo import Api
from tests import machine as machines
from tests.conftest import ROOT
from tests.machine import Machine, needs_nginx, nginx, running
from tests.serving import Answer, Caller
from tests.waiting import LIMIT, until

PICTURE = ROOT / "service/static/demo/evening.jpeg"
UNITS = ("crier-migrate", "crier-web", "crier-dispatch", "crier-worker")
MANY_HEADERS = "X: y\r\n" * 110
SAME_HEADERS = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Security-Policy",
    "Content-Type",
    "Cross-Origin-Resource-Policy",
    "X-Content-Type-Options",
)


@dataclass(frozen=True)
class Site:
    """A machine on which everything runs, and a client program with a token."""

    machine: Machine
    api: Api

    def ask(
        self, method: str, path: str, body: bytes | None = None, /, **headers: str
    ) -> tuple[Answer, bytes]:
        """Send a request to nginx and return the answer and its body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = Caller(self.machine.port, self.api.token).ask(method, path, body, named)
        return answer, answer.body

    def upload(self, file: Path = PICTURE) -> dict[str, Any]:
        attachment: dict[str, Any] = self.api.get(f"/attachment/{self.api.upload(file)}")
        return attachment


def is_ready(address: str) -> bool:
    """Tell whether the service behind nginx says that it can do its work."""
    with suppress(OSError):
        return bool(Api(address, "").get("/readyz"))
    return False


def dispatchers(machine: Machine) -> set[int]:
    """Return the process ids of the dispatchers that have entered themselves."""
    with closing(sqlite3.connect(machine.data / "crier.db")) as database:
        return {pid for (pid,) in database.execute("SELECT pid FROM dispatchers")}


def flask(machine: Machine, *words: str) -> str:
    """Run a command of the service as the web unit would."""
    environment = machine.unit("crier-web").environment
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with machines.new() as made:
        yield made


@pytest.fixture(scope="module")
def site(machine: Machine) -> Iterator[Site]:
    migrate, web, dispatch = map(machine.unit, ("crier-migrate", "crier-web", "crier-dispatch"))
    subprocess.run(migrate.command, cwd=ROOT, env=migrate.environment, check=True)
    flask(machine, "client", "create", "shop")
    token = flask(machine, "token", "create", "shop")
    with ExitStack() as stack:
        log, told = machine.folder / "service.log", {"LOG_LEVEL": "INFO"}
        stack.enter_context(running(web.command, web.environment | told, log=log))
        stack.enter_context(running(dispatch.command, dispatch.environment))
        stack.enter_context(nginx(machine))
        until(lambda: is_ready(machine.address))
        yield Site(machine, Api(machine.address, token))


@needs_nginx
def test_a_broadcast_with_an_attachment_goes_through_nginx_to_the_dispatcher(site: Site) -> None:
    message = {"text": "Hello", "attachments": [site.upload()["_id"]]}
    order = {"send_type": "individual", "to": "12025550110,12025550111", "message": message}
    path = f"/broadcast/{site.api.post('/broadcast', order)['_id']}"
    until(lambda: site.api.get(path)["status"] == "completed")
    assert site.api.get(path)["sent"] == ["12025550110", "12025550111"]
    received = site.api.get("/sandbox/message")
    assert sorted(each["kind"] for each in received) == ["media", "media", "text", "text"]


@needs_nginx
def test_the_first_page_of_the_console_takes_less_than_100_kb(site: Site) -> None:
    answer, page = site.ask("GET", "/console/sign-in", Accept_Encoding="gzip")
    assert answer.status == 200
    assert "Content-Encoding" not in answer.headers, "it has words that must not be guessed"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    loaded = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.decode()))
    assert len(loaded) >= 5
    size = len(page)
    for file in loaded:
        answer, content = site.ask("GET", file, Accept_Encoding="gzip")
        assert answer.headers["Content-Encoding"] == "gzip" or len(content) < 1024, file
        size += len(content)
    assert size < 100_000


@needs_nginx
def test_one_address_signs_in_only_so_often(site: Site) -> None:
    statuses = {site.ask("GET", "/console/sign-in")[0].status for _ in range(30)}
    assert statuses == {200, 429}


@needs_nginx
def test_nginx_serves_a_file_whole_in_ranges_and_not_again(site: Site) -> None:
    path, picture = site.upload()["path"].removeprefix("."), PICTURE.read_bytes()
    answer, content = site.ask("GET", path)
    assert (answer.status, content) == (200, picture)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Accel-Redirect"] is None
    stored = site.machine.data / "attachments" / path.rpartition("/")[2]
    assert stored.stat().st_mode & 0o777 == 0o640, "nginx's user is let into the group"
    part, content = site.ask("GET", path, Range="bytes=100-199")
    assert (part.status, content) == (206, picture[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(picture)}"
    refused, content = site.ask("GET", path, Range="bytes=9999999-")
    assert (refused.status, json.loads(content)["status"]) == (416, False)
    again, content = site.ask("GET", path, If_None_Match=answer.headers["ETag"])
    assert (again.status, content) == (304, b"")
    head, content = site.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(picture)))


@needs_nginx
@pytest.mark.parametrize("name", ["evening.jpeg", "people.csv"])
def test_a_file_has_the_headers_that_the_service_itself_would_give_it(
    site: Site, tmp_path: Path, name: str
) -> None:
    (tmp_path / "evening.jpeg").write_bytes(PICTURE.read_bytes())
    (tmp_path / "people.csv").write_text("name,phone\nAda,2348179803743\n")
    path = site.upload(tmp_path / name)["path"].removeprefix(".")
    app = create_app(Settings(data_dir=site.machine.data, dispatch="off"))
    alone = app.test_client().get(path, buffered=True).headers
    app.extensions["crier"].database.dispose()
    for headers in ({}, {"Range": "bytes=0-9"}):
        answer, _ = site.ask("GET", path, **headers)
        for header in SAME_HEADERS:
            assert answer.headers.get_all(header) == [alone[header]], header


@needs_nginx
def test_nobody_reaches_the_folder_of_files_but_through_the_service(site: Site) -> None:
    file = site.upload()["path"].rpartition("/")[2]
    for path in (
        f"/_attachments/{file}",
        "/_attachments/../secret.key",
        "/public/attachments/..%2f..%2fcrier.db",
        "/public/attachments/incoming",
    ):
        assert site.ask("GET", path)[0].status == 404, path


@needs_nginx
@pytest.mark.parametrize("size", [32 * MIB + 1, 34 * MIB])
def test_a_body_over_the_limit_is_refused_in_the_envelope_by_whoever_sees_it_first(
    site: Site, size: int
) -> None:
    answer, content = site.ask("POST", "/broadcast", b" " * size)
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    refusal = json.loads(content)
    assert refusal["status"] is False
    assert "larg" in refusal["message"]


@needs_nginx
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (f"GET /{'x' * 9000} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (f"GET /{'x' * 8000} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (f"GET / HTTP/1.1\r\nHost: a\r\nX: {'x' * 9000}\r\n\r\n", 431),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: y\r\nConnection: close\r\n\r\n", 501),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
        (f"GET / HTTP/1.1\r\nHost: a\r\n{MANY_HEADERS}Connection: close\r\n\r\n", 431),
        ("GET /\x7f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
        ("GET /é HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_in_the_envelope_too(
    site: Site, request_: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", site.machine.port), timeout=LIMIT) as client:
        client.sendall(request_.encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == status
        assert json.load(answer)["status"] is False


@needs_nginx
def test_a_body_at_the_limit_passes_nginx(site: Site) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    body = form + b"a" * (16 * MIB) + b"\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    assert site.ask("POST", "/attachment", body, Content_Type=kind)[0].status == 201


@needs_nginx
def test_a_slow_client_takes_no_thread_of_the_service(site: Site) -> None:
    """The service has one thread: were it reading from this client, nobody else were answered."""
    with socket.create_connection(("127.0.0.1", site.machine.port)) as slow:
        head = f"POST /broadcast HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {site.api.token}\r\n"
        slow.sendall(f"{head}Content-Length: 200000\r\n\r\n".encode() + b" " * 150_000)
        assert site.ask("GET", "/healthz")[0].status == 200


@needs_nginx
def test_one_address_cannot_hold_up_all_the_memory_with_bodies_that_never_end(site: Site) -> None:
    head = b"POST /broadcast HTTP/1.1\r\nHost: a\r\nContent-Length: 33000000\r\n\r\nx"
    address = ("127.0.0.1", site.machine.port)
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(socket.create_connection(address, timeout=LIMIT)).sendall(head)
        until(lambda: site.ask("GET", "/healthz")[0].status == 429)
        answer, content = site.ask("GET", "/healthz")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert json.loads(content)["status"] is False
    until(lambda: site.ask("GET", "/healthz")[0].status == 200)


@needs_nginx
def test_no_token_and_no_whole_number_gets_into_a_log(site: Site) -> None:
    canary, number = "crier_canary", "12025550177"
    opt_out = f"/session/{'0' * 24}/opt-out/{number}"
    for path in (
        f"/broadcast?access_token={canary}&recipient={number}",
        f"{opt_out}?access_token={canary}",
        f"/nowhere/{number}?access_token={canary}",
        f"/é?access_token={canary}",
        f"/broadcast?access_token={canary}&{'x' * 9000}",
    ):
        with socket.create_connection(("127.0.0.1", site.machine.port), timeout=LIMIT) as client:
            client.sendall(f"DELETE {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert client.recv(12).startswith(b"HTTP/1.1 4")
    site.ask("POST", f"/contact?access_token={canary}", b" " * (34 * MIB))
    until(lambda: "/contact HTTP/1.1 413 " in (site.machine.folder / "access.log").read_text())
    logs = [site.machine.folder / name for name in ("access.log", "error.log", "service.log")]
    access, errors, service = (log.read_text() for log in logs)
    assert "/opt-out/... " in access
    assert " POST /contact HTTP/1.1 413 " in access
    assert "/opt-out/…" in service
    assert canary not in access + errors + service
    assert number not in access + errors + service


@needs_nginx
def test_links_carry_the_address_that_the_client_used_and_not_one_it_claims(site: Site) -> None:
    claims = {
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Prefix": "/evil",
        "Forwarded": "host=evil.example;proto=https",
    }
    attachment = site.upload()
    _, content = site.ask("GET", f"/attachment/{attachment['_id']}", **claims)
    assert json.loads(content)["data"]["url"].startswith(f"{site.machine.address}/public/")


@needs_nginx
def test_a_dispatcher_stops_within_its_time_and_takes_its_leave(site: Site) -> None:
    unit = site.machine.unit("crier-dispatch")
    with running(unit.command, unit.environment) as dispatcher:
        until(lambda: dispatcher.pid in dispatchers(site.machine))
        dispatcher.send_signal(signal.SIGTERM)
        assert dispatcher.wait(timeout=unit.stop_within) == 0
    assert dispatcher.pid not in dispatchers(site.machine)


def test_the_example_of_settings_has_what_the_units_and_the_site_need() -> None:
    lines = (ROOT / "deploy/crier.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
    assert set(given) <= {setting.name.upper() for setting in fields(Settings)}
    units = "\n".join((ROOT / f"deploy/systemd/{name}.service").read_text() for name in UNITS)
    for name in ("DATA_DIR", "TRUSTED_PROXIES", "ACCEL_PREFIX"):
        assert {*re.findall(rf"\b{name}=(\S+)", units)} == {given[name]}
    assert (
        f"alias {given['DATA_DIR']}/attachments/;" in (ROOT / "deploy/nginx/crier.conf").read_text()
    )


def test_systemd_waits_longer_than_the_service_takes_to_stop(machine: Machine) -> None:
    settings = Settings()
    for dispatching in ("crier-dispatch", "crier-worker"):
        assert machine.unit(dispatching).stop_within > settings.grace
    config = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    assert machine.unit("crier-web").stop_within > config["graceful_timeout"] > settings.grace


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_the_units(machine: Machine, tmp_path: Path, name: str) -> None:
    for each in UNITS:
        (tmp_path / f"{each}.service").write_text(machine.read(f"systemd/{each}.service"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"{name}.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, name in done.stderr) == (0, False), done.stderr


@needs_nginx
def test_without_the_service_nginx_says_so_in_the_envelope() -> None:
    with machines.new() as empty, nginx(empty):
        answer = Caller(empty.port).ask("GET", "/broadcast")
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "2"
        assert json.loads(answer.body)["status"] is False
