"""The files in deploy/, run as they are but for addresses and paths: nginx in front of gunicorn."""

from __future__ import annotations

import http.client
import json
import os
import runpy
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.app import create_app
from service.config import MIB, Settings
from service.demo import Api
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
PICTURE = ROOT / "service/static/demo/evening.jpeg"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
PATIENCE = 60.0
SAME_HEADERS = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Security-Policy",
    "Content-Type",
    "Cross-Origin-Resource-Policy",
    "X-Content-Type-Options",
)

needs_nginx = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed: apt-get install nginx-light"
)


class Unit(NamedTuple):
    """What systemd would run; `stop_within` in seconds."""

    command: list[str]
    environment: dict[str, str]
    stop_within: float


@dataclass(frozen=True)
class Machine:
    """A folder in the place of the machine's own ones, and a port in the place of 80."""

    folder: Path
    port: int

    def read(self, name: str) -> str:
        """Return a file of deploy/ with the addresses and paths of this machine."""
        content = (DEPLOY / name).read_text()
        for usual, here in {
            "/opt/crier/.venv/bin": Path(sys.executable).parent,
            "/opt/crier": ROOT,
            "/var/lib/crier": self.data,
            "/run/crier": self.folder,
            "/etc/crier.env": self.folder / "crier.env",
            "listen 80;": f"listen 127.0.0.1:{self.port};",
        }.items():
            content = content.replace(usual, str(here))
        return content

    def unit(self, name: str) -> Unit:
        """Return what a unit runs, with few threads so that one slow client would be felt."""
        lines = [line.partition("=") for line in self.read(f"systemd/{name}.service").splitlines()]
        given = [(key, value) for key, _, value in lines if not key.startswith("#")]
        pairs = [pair for key, value in given if key == "Environment" for pair in value.split()]
        single = dict(given)
        environment = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
        limit = float(single.get("TimeoutStopSec", "90"))
        return Unit(shlex.split(single["ExecStart"]), surroundings() | environment, limit)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Site:
    """A machine on which everything runs, and a client program with a token."""

    machine: Machine
    api: Api

    def ask(
        self, method: str, path: str, body: bytes | None = None, /, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request to nginx and return the answer and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.machine.port, timeout=PATIENCE)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(
            method, path, body, {"Authorization": f"Bearer {self.api.token}", **named}
        )
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def upload(self) -> dict[str, Any]:
        attachment: dict[str, Any] = self.api.get(f"/attachment/{self.api.upload(PICTURE)}")
        return attachment


def surroundings() -> dict[str, str]:
    """Return what a process needs of ours, and one thread for everybody."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    own |= {"DATABASE_URL": "", "LOG_LEVEL": "WARNING", "DISPATCH": "off"}
    return own | {"WEB_CONCURRENCY": "1", "WEB_THREADS": "1"}


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block."""
    process = subprocess.Popen(command, cwd=ROOT, env=dict(environment))
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=PATIENCE)
        process.kill()
        process.wait()


@contextmanager
def nginx(machine: Machine) -> Iterator[None]:
    """Run nginx with our site and with nothing of the machine's own configuration."""
    folder = machine.folder
    (folder / "site.conf").write_text(machine.read("nginx/crier.conf"))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "" if os.geteuid() else "user root;"
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {temporary} include {folder}/site.conf; }}\n"
    )
    command = [str(NGINX), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, surroundings()) as process:
        await_answer(machine.port, process)
        yield


def await_answer(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    pytest.fail(f"{process.args!r} does not listen")


def await_ready(address: str) -> None:
    """Wait until the service behind nginx says that it can do its work."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError):
            Api(address, "").get("/readyz")
            return
        time.sleep(0.05)
    pytest.fail("the service does not become ready")


def dispatchers(machine: Machine) -> set[int]:
    """Return the process ids of the dispatchers that have entered themselves."""
    with closing(sqlite3.connect(machine.data / "crier.db")) as database:
        return {pid for (pid,) in database.execute("SELECT pid FROM dispatchers")}


def await_entry(machine: Machine, pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while pid not in dispatchers(machine):
        assert time.monotonic() < deadline, "the dispatcher does not start"
        time.sleep(0.02)


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
    # The path of a socket has 107 bytes at most: pytest's folders are too deep.
    with tempfile.TemporaryDirectory(prefix="crier-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        yield Machine(Path(folder), port)


@pytest.fixture(scope="module")
def site(machine: Machine) -> Iterator[Site]:
    migrate, web, dispatch = map(machine.unit, ("crier-migrate", "crier-web", "crier-dispatch"))
    subprocess.run(migrate.command, cwd=ROOT, env=migrate.environment, check=True)
    flask(machine, "client", "create", "shop")
    token = flask(machine, "token", "create", "shop")
    with ExitStack() as stack:
        stack.enter_context(running(web.command, web.environment))
        stack.enter_context(running(dispatch.command, dispatch.environment))
        stack.enter_context(nginx(machine))
        await_ready(machine.address)
        yield Site(machine, Api(machine.address, token))


@needs_nginx
def test_a_broadcast_with_an_attachment_goes_through_nginx_to_the_dispatcher(site: Site) -> None:
    message = {"text": "Hello", "attachments": [site.upload()["_id"]]}
    order = {"send_type": "individual", "to": "12025550110,12025550111", "message": message}
    broadcast = site.api.post("/broadcast", order)
    deadline = time.monotonic() + PATIENCE
    while broadcast["status"] == "sending" and time.monotonic() < deadline:
        time.sleep(0.05)
        broadcast = site.api.get(f"/broadcast/{broadcast['_id']}")
    assert broadcast["sent"] == ["12025550110", "12025550111"]
    received = site.api.get("/sandbox/message")
    assert sorted(each["kind"] for each in received) == ["media", "media", "text", "text"]


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
    assert site.ask("GET", path, Range="bytes=9999999-")[0].status == 416
    again, content = site.ask("GET", path, If_None_Match=answer.headers["ETag"])
    assert (again.status, content) == (304, b"")
    head, content = site.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(picture)))


@needs_nginx
def test_a_file_has_the_headers_that_the_service_itself_would_give_it(site: Site) -> None:
    path = site.upload()["path"].removeprefix(".")
    app = create_app(Settings(data_dir=site.machine.data, dispatch="off"))
    alone = app.test_client().get(path, buffered=True).headers
    app.extensions["crier"].database.dispose()
    for headers in ({}, {"Range": "bytes=0-9"}):
        answer, _ = site.ask("GET", path, **headers)
        for name in SAME_HEADERS:
            assert answer.headers.get_all(name) == [alone[name]], name
    refused, _ = site.ask("GET", path, Range="bytes=9999999-")
    assert refused.headers["Content-Security-Policy"] == alone["Content-Security-Policy"]


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
@pytest.mark.parametrize("size", [16 * MIB + 1, 18 * MIB])
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
        await_entry(site.machine, dispatcher.pid)
        dispatcher.send_signal(signal.SIGTERM)
        assert dispatcher.wait(timeout=unit.stop_within) == 0
    assert dispatcher.pid not in dispatchers(site.machine)


def test_systemd_waits_longer_than_the_service_takes_to_stop(machine: Machine) -> None:
    settings = Settings()
    assert machine.unit("crier-dispatch").stop_within > settings.grace
    config = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    assert machine.unit("crier-web").stop_within > config["graceful_timeout"] > settings.grace


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
@pytest.mark.parametrize("name", ["crier-migrate", "crier-web", "crier-dispatch"])
def test_systemd_understands_the_units(machine: Machine, tmp_path: Path, name: str) -> None:
    for each in ("crier-migrate", "crier-web", "crier-dispatch"):
        (tmp_path / f"{each}.service").write_text(machine.read(f"systemd/{each}.service"))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"{name}.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, name in done.stderr) == (0, False), done.stderr


@needs_nginx
def test_without_the_service_nginx_says_so_in_the_envelope() -> None:
    with tempfile.TemporaryDirectory(prefix="crier-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        with nginx(Machine(Path(folder), port)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", "/broadcast")
            answer = connection.getresponse()
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "2"
            assert json.load(answer)["status"] is False
            connection.close()
