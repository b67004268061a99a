"""Large bodies, sent to a real server by clients that send first and read afterwards."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from service.config import MIB, Settings
from service.core import clients, tokens
from service.database import Database
from tests.conftest import ROOT, migrate

LIMIT = 60.0
PIECE = b" " * 65_536


class Connection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket, so that no port is needed."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=LIMIT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(str(self._path))


def is_listening(path: Path) -> bool:
    """Tell whether a server takes connections: its socket is there a moment before it does."""
    with suppress(OSError), closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.connect(str(path))
        return True
    return False


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> str:
    database = Database(settings_in(tmp_path_factory))
    migrate(database)
    with database.writing() as db:
        client = clients.create(db, "Acme")
        _, secret = tokens.create(db, client.id, "test", ["admin"])
    database.dispose()
    return secret


def settings_in(factory: pytest.TempPathFactory) -> Settings:
    return replace(Settings(), data_dir=factory.getbasetemp() / "served")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, token: str) -> Iterator[Path]:
    """Run gunicorn as an operator would, and return the path of its socket."""
    assert token
    path = tmp_path_factory.mktemp("s") / "s"
    environment = {
        **os.environ,
        "BIND": f"unix:{path}",
        "DATA_DIR": str(settings_in(tmp_path_factory).data_dir),
        "DISPATCH": "off",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LIMIT
    while not is_listening(path):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield path
    process.terminate()
    process.wait(LIMIT)


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield PIECE


def ask(
    server: Path, path: str, headers: dict[str, str], body: Iterable[bytes]
) -> tuple[int, dict[str, object]]:
    """Send a whole request, then read the answer."""
    connection = Connection(server)
    chunked = "Content-Length" not in headers
    connection.request("POST", path, body=body, headers=headers, encode_chunked=chunked)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/broadcast", {}, 413),
        ("/attachment", {"Content-Type": "multipart/form-data; boundary=x"}, 413),
        ("/broadcast", {"Authorization": "Bearer wrong"}, 401),
        ("/broadcast", {"Content-Type": "application/xml"}, 413),
        ("/nothing", {}, 404),
    ],
)
def test_a_client_that_is_still_sending_gets_the_answer(
    server: Path, token: str, path: str, more: dict[str, str], status: int
) -> None:
    for length in ({"Content-Length": str(48 * MIB)}, {"Transfer-Encoding": "chunked"}):
        headers = {"Authorization": f"Bearer {token}", **length, **more}
        got, document = ask(server, path, headers, pieces(48 * MIB))
        assert got == status, length
        assert document["status"] is False


@pytest.mark.parametrize("token_of", ["a client", "a stranger"])
def test_a_body_that_does_not_end_holds_up_no_other_request(
    server: Path, token: str, token_of: str
) -> None:
    """In Python 3.11, `functools.cached_property` has one lock for the bodies of all requests."""
    known = f"Authorization: Bearer {token}\r\n" if token_of == "a client" else ""
    with closing(socket.socket(socket.AF_UNIX)) as slow:
        slow.connect(str(server))
        head = "POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        slow.sendall(f"{head}{known}Content-Length: 1000\r\n\r\n{{".encode())
        headers = {"Authorization": f"Bearer {token}", "Content-Length": "2"}
        for _ in range(3):
            status, _ = ask(server, "/contact", headers, [b"{}"])
            assert status in {415, 422}
        slow.settimeout(0.0)
        with pytest.raises(BlockingIOError):  # it is still waited for
            slow.recv(1)


def test_json_in_chunks_is_read(server: Path, token: str) -> None:
    body = json.dumps({"name": "Ada", "phones": ["2348179803743"]}).encode()
    headers = {"Authorization": f"Bearer {token}", "Transfer-Encoding": "chunked"}
    got, document = ask(server, "/contact", headers, [body[:10], body[10:]])
    assert (got, document["status"]) == (201, True)


BROKEN = [
    b"zz\r\n{}\r\n0\r\n\r\n",
    b"-5\r\n{}\r\n0\r\n\r\n",
    b"\r\n{}\r\n0\r\n\r\n",
    b"2;a\rb\r\n{}\r\n0\r\n\r\n",
    b"1\r\n{}\r\n0\r\n\r\n",
    b"3\r\n{}\r\n0\r\n\r\n",
    b"9\r\n{}",
]


@pytest.mark.parametrize("body", BROKEN)
@pytest.mark.parametrize(
    "more",
    [
        "POST /contact HTTP/1.1",
        "POST /attachment HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x",
    ],
)
def test_broken_chunks_are_a_clients_error_and_end_the_connection(
    server: Path, token: str, body: bytes, more: str
) -> None:
    head = (
        f"{more}\r\nHost: a\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(str(server))
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b'"status":false' in answer
    assert b"cut off" in answer
    assert answer.count(b"HTTP/1.1 2") == 0
