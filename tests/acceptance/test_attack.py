"""What an attack finds fault with."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmarks.workspace import answers, end, start, until
from chaos import attack, hostile
from chaos.attack import Finding, Service
from chaos.senders import Reply, Sender, Tally
from tests.serving import free_port
from tests.waiting import LIMIT

ENVELOPE = '{"status":false,"message":"Busy."}'


def finding(beside: float = 0.1, memory: float = 100.0, status: int = 200) -> Finding:
    found = Finding([0.1] * 100, [beside] * 100, [100.0] * 75 + [memory] * 25)
    found.quiet.note("GET /session", Reply(status, ""))
    return found


def test_a_service_that_stands_firm_has_no_faults() -> None:
    assert finding(beside=0.19, memory=120.0).faults() == []
    assert list(finding().lines())[-2:] == ["quiet: 200: 1", "hostile: "]


def test_what_the_quiet_client_feels_is_a_fault() -> None:
    assert finding(beside=0.3).faults() == ["the quiet client's p99 is 3.0 times that alone"]
    assert finding(memory=200.0).faults() == ["memory grew from 100 to 200 MB"]
    assert finding(status=429).faults() == ["the quiet client was refused with 429"]


def test_of_answers_all_errors_of_the_server_are_faults_but_a_503_in_the_envelope() -> None:
    tally = Tally()
    for status, body in ((200, ""), (422, ""), (503, ENVELOPE)):
        tally.note("GET /", Reply(status, body))
    assert tally.faults == []
    for status, body in ((500, ENVELOPE), (502, ""), (503, "<html>")):
        tally.note("GET /", Reply(status, body))
    assert [fault.partition(" ")[2][3:6] for fault in tally.faults] == ["500", "502", "503"]


def test_a_quiet_client_without_answers_is_a_fault() -> None:
    found = finding()
    found.quiet.note_silence(TimeoutError())
    found.hostile.note_silence(TimeoutError())
    assert found.faults() == ["the quiet client got no answer 1 times"]
    assert [*found.lines()][-2] == "hostile: no answer: 1"


SERVICE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
for _ in range(int(sys.argv[2])):
    server.handle_request()
sys.exit("the disk is full")
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Serve what ends after eight requests, of which the first is a look whether it listens."""
    port = free_port()
    process = start([sys.executable, "-c", SERVICE, f"{port}", "8"], tmp_path / "log", {})
    until(lambda: answers(port), "the service")
    yield Service(port, process, ("quiet", "hostile"), tmp_path / "log")
    end(process)


def test_a_service_that_dies_ends_the_attack(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attack, "_hostile", lambda *_: nullcontext())
    found = attack.attack(service, 3_600.0, 1, alone=0.0)
    assert found.faults()[0].startswith("the service has ended with 1:\n")
    assert found.faults()[0].endswith("the disk is full\n")
    assert len(found.beside) < 100
    assert "FAULT: the service has ended with 1:" in "\n".join(found.lines())


def test_a_body_is_sent_in_chunks_that_are_well_formed_or_not() -> None:
    body = b"x" * 2_500
    assert sent(hostile.chunks(body, 1_000)) == (
        b"3E8\r\n%b\r\n3E8\r\n%b\r\n1F4\r\n%b\r\n0\r\n\r\n"
        % (body[:1_000], body[:1_000], body[:500])
    )
    assert sent(iter([b"no chunk", b"0\r\n\r\n"]), said="chunked") == b"no chunk0\r\n\r\n"


def sent(body: Iterator[bytes], said: str = "") -> bytes:
    """Return what a server reads of a request behind its head."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read, server)
        sender = Sender(server.getsockname()[1], "token", Tally())
        sender.send("POST", "/", body, {"Transfer-Encoding": said} if said else None)
        head, _, rest = reading.result(LIMIT).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    return rest


def read(server: socket.socket) -> bytes:
    """Read a request up to its last chunk, and answer."""
    connection, _ = server.accept()
    with connection:
        found = b""
        while not found.endswith(b"0\r\n\r\n"):
            found += connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return found
