"""How gunicorn's workers end, and how they take and close connections."""

from __future__ import annotations

import json
import operator
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from selectors import EVENT_READ, DefaultSelector
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn

from service import connections, gunicorn_worker
from service.connections import PIECE, RECEIVING, WaitLimits
from tests.waiting import until


@pytest.fixture
def worker() -> Iterator[Any]:
    config = Config()
    worker = gunicorn_worker.Worker(1, os.getppid(), [], None, 30, config, Logger(config))
    worker.tpool = worker.get_thread_pool()
    worker.poller = DefaultSelector()
    worker.method_queue.init()
    queue = worker.method_queue
    worker.poller.register(queue.fileno(), EVENT_READ, queue.run_callbacks)
    with closing(worker.tmp), closing(worker.method_queue), closing(worker.poller):
        yield worker


def test_ctrl_c_ends_a_worker_that_is_handing_a_request_to_its_threads(worker: Any) -> None:
    interrupted = worker.tpool._shutdown_lock  # noqa: SLF001 - the main thread may hold it
    handler = threading.Thread(target=worker.handle_quit, args=(signal.SIGINT, None), daemon=True)
    with interrupted:
        handler.start()
        handler.join(60)
    assert not worker.alive
    assert not handler.is_alive()


@pytest.fixture
def client(worker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Return the other end of a connection whose request has just been answered for good."""
    monkeypatch.setattr("gunicorn.util.close_graceful", pytest.fail)
    ours, theirs = socket.socketpair()
    done: Future[bool] = Future()
    done.set_result(False)
    with closing(theirs):
        worker.nr_conns = 1
        worker.finish_request(TConn(worker.cfg, ours, "", ""), done)
        assert theirs.recv(1) == b""
        yield theirs


def test_a_connection_waits_for_its_client_to_close_it_but_nothing_waits_for_both(
    worker: Any, client: socket.socket
) -> None:
    client.sendall(b"the rest of a body")
    worker.wait_for_and_dispatch_events(timeout=60)
    assert worker.nr_conns == 1
    client.close()
    worker.wait_for_and_dispatch_events(timeout=60)
    assert (worker.nr_conns, list(worker.pending_conns)) == (0, [])


def test_a_client_that_never_closes_its_connection_loses_it(
    worker: Any, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    del client
    worker.murder_pending()
    assert worker.nr_conns == 1
    monkeypatch.setattr("time.monotonic", partial(operator.add, time.monotonic(), 60))
    worker.murder_pending()
    assert (worker.nr_conns, len(worker.poller.get_map())) == (0, 1)


def test_a_client_that_never_stops_sending_loses_its_connection(
    worker: Any, client: socket.socket
) -> None:
    client.settimeout(0)
    pieces = gunicorn_worker.DRAINED // PIECE
    taken = 0
    while worker.nr_conns:
        with suppress(BlockingIOError):
            client.send(b"x" * PIECE)
        worker.wait_for_and_dispatch_events(timeout=60)
        taken += 1
    assert taken >= pieces


@pytest.fixture
def visitor(worker: Any) -> Iterator[socket.socket]:
    """Return the other end of a connection that has just been accepted."""
    ours, theirs = socket.socketpair()
    with closing(theirs):
        worker.nr_conns = 1
        worker.enqueue_req(TConn(worker.cfg, ours, "", ""))
        yield theirs


PARTS = [
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /contact HTTP/1.1\r\nHost: localhost\r\ncontent-length: 2\r\n\r\n{}",
]


@pytest.mark.parametrize("request_", PARTS)
def test_no_thread_waits_for_a_short_request(
    worker: Any, visitor: socket.socket, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    begun: list[TConn] = []
    monkeypatch.setattr(worker, "handle", begun.append)
    for at in range(len(request_)):
        assert (worker.nr_conns, begun) == (1, [])
        visitor.sendall(request_[at : at + 1])
        worker.wait_for_and_dispatch_events(timeout=60)
    until(lambda: begun)
    assert not worker.pending_conns
    begun[0].close()


@pytest.mark.parametrize(
    "part",
    [
        b"GET / HTTP/1.1\nHost",
        b"x" * (PIECE + 1),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_a_thread_takes_what_is_no_short_request(
    worker: Any, visitor: socket.socket, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    begun: list[TConn] = []
    monkeypatch.setattr(worker, "handle", begun.append)
    visitor.sendall(part)
    while worker.pending_conns:
        worker.wait_for_and_dispatch_events(timeout=60)
    until(lambda: begun)
    begun[0].close()


def exchange(worker: Any, visitor: socket.socket, sent: bytes) -> tuple[bytes, bytes]:
    """Send something, let the worker take it and answer; return the answer's head and body."""
    visitor.sendall(sent)
    worker.wait_for_and_dispatch_events(timeout=60)  # it has come
    worker.wait_for_and_dispatch_events(timeout=60)  # its thread has ended
    head, _, body = visitor.recv(4096).partition(b"\r\n\r\n")
    return head, body


def is_closed(worker: Any, visitor: socket.socket) -> bool:
    """Tell whether both ends have been closed after an answer, once ours is."""
    was_closed = visitor.recv(1) == b""
    visitor.close()
    worker.wait_for_and_dispatch_events(timeout=60)
    return was_closed and worker.nr_conns == 0


def given_up(
    worker: Any, visitor: socket.socket, monkeypatch: pytest.MonkeyPatch, *, seconds: float
) -> tuple[bytes, bytes]:
    """Send a part of a request and let time pass; return the head and the body of the answer."""
    visitor.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
    worker.wait_for_and_dispatch_events(timeout=60)
    worker.murder_pending()
    assert worker.nr_conns == 1
    monkeypatch.setattr("time.monotonic", partial(operator.add, time.monotonic(), seconds))
    worker.murder_pending()
    assert worker.nr_conns == 0
    head, _, body = visitor.recv(4096).partition(b"\r\n\r\n")
    assert visitor.recv(1) == b""
    return head, body


def test_a_client_that_does_not_finish_a_request_is_told_so(
    worker: Any, visitor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, body = given_up(worker, visitor, monkeypatch, seconds=RECEIVING.silence)
    assert head.startswith(b"HTTP/1.1 408 Request Timeout")
    assert "30 seconds" in json.loads(body)["message"]


def test_a_client_that_sends_a_byte_now_and_then_is_given_up(
    worker: Any, visitor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    for seconds in range(0, int(RECEIVING.total), 20):
        monkeypatch.setattr("time.monotonic", partial(operator.add, began, seconds))
        visitor.sendall(b"G")
        worker.wait_for_and_dispatch_events(timeout=60)
        worker.murder_pending()
        assert worker.nr_conns == 1
    monkeypatch.setattr("time.monotonic", partial(operator.add, began, RECEIVING.total))
    worker.murder_pending()
    assert visitor.recv(12) == b"HTTP/1.1 408"


def test_a_request_that_has_not_come_when_the_worker_stops_is_to_be_sent_again(
    worker: Any, visitor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.alive = False
    worker._cap_keepalive(time.monotonic() + 60)  # noqa: SLF001 - gunicorn calls it
    head, body = given_up(worker, visitor, monkeypatch, seconds=60)
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert b"\r\nRetry-After: 1" in head
    assert "stopping" in json.loads(body)["message"]


def test_a_stopping_worker_waits_for_no_request(worker: Any, visitor: socket.socket) -> None:
    worker._cap_keepalive(time.monotonic())  # noqa: SLF001 - gunicorn calls it
    worker.murder_pending()
    assert worker.nr_conns == 0
    assert visitor.recv(1) == b""


def test_a_request_of_http_1_1_needs_a_host(worker: Any, visitor: socket.socket) -> None:
    head, body = exchange(worker, visitor, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert "`Host`" in json.loads(body)["message"]
    assert is_closed(worker, visitor)


@pytest.fixture
def app(worker: Any) -> Any:
    """Let the worker serve an application that reads a body only under one path."""

    def serve(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        read = environ["wsgi.input"].read() if environ["PATH_INFO"] == "/read" else b"nothing"
        start_response("200 OK", [("Content-Length", str(len(read)))])
        return [read]

    worker.wsgi = serve
    return serve


POST = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n{body}"


def post(path: str, length: int, body: str, more: str = "") -> bytes:
    return POST.format(path=path, length=length, body=body, more=more).encode()


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(("path", "answer"), [("/read", b"abcd"), ("/", b"nothing")])
def test_a_connection_is_used_again_after_a_body_that_has_come(
    worker: Any, visitor: socket.socket, path: str, answer: bytes
) -> None:
    for _ in range(2):
        head, body = exchange(worker, visitor, post(path, 4, "abcd"))
        assert (b"\r\nConnection: keep-alive" in head, body) == (True, answer)
    assert worker.nr_conns == 1
    worker.murder_keepalived(force=True)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("length", [100_000, 10_000_000])
def test_an_answer_before_the_end_of_a_body_is_the_last_one(
    worker: Any, visitor: socket.socket, length: int
) -> None:
    head, body = exchange(worker, visitor, post("/", length, "abcd"))
    assert (b"\r\nConnection: close" in head, body) == (True, b"nothing")
    assert is_closed(worker, visitor)


@pytest.mark.usefixtures("app")
def test_requests_that_come_together_are_answered_one_after_another(
    worker: Any, visitor: socket.socket
) -> None:
    twice = post("/read", 4, "abcd") + post("/read", 4, "efgh")
    head, body = exchange(worker, visitor, twice[:-2])
    assert (b"\r\nConnection: keep-alive" in head, body) == (True, b"abcd")
    visitor.sendall(twice[-2:])
    while worker.pending_conns:
        worker.wait_for_and_dispatch_events(timeout=60)
    worker.wait_for_and_dispatch_events(timeout=60)
    assert visitor.recv(4096).endswith(b"efgh")
    worker.murder_keepalived(force=True)


@pytest.mark.usefixtures("app")
def test_nobody_is_asked_for_a_body_that_is_not_read(worker: Any, visitor: socket.socket) -> None:
    head, body = exchange(worker, visitor, post("/", 4, "", "Expect: 100-continue\r\n"))
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert (b"\r\nConnection: close" in head, body) == (True, b"nothing")
    assert is_closed(worker, visitor)


@pytest.mark.usefixtures("app")
def test_a_body_is_asked_for_once_it_is_read(worker: Any, visitor: socket.socket) -> None:
    visitor.sendall(post("/read", 4, "", "Expect: 100-continue\r\n"))
    worker.wait_for_and_dispatch_events(timeout=60)
    assert visitor.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    visitor.sendall(b"abcd")
    worker.wait_for_and_dispatch_events(timeout=60)
    head, _, body = visitor.recv(4096).partition(b"\r\n\r\n")
    assert (b"\r\nConnection: keep-alive" in head, body) == (True, b"abcd")
    worker.murder_keepalived(force=True)


@pytest.mark.usefixtures("app")
def test_a_body_that_came_unasked_needs_no_invitation(worker: Any, visitor: socket.socket) -> None:
    head, body = exchange(worker, visitor, post("/read", 4, "abcd", "Expect: 100-continue\r\n"))
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == b"abcd"
    worker.murder_keepalived(force=True)


@pytest.mark.usefixtures("app")
def test_a_client_that_is_asked_for_a_body_sends_it_soon(
    worker: Any, visitor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        connections, "RECEIVING", WaitLimits(silence=60.0, total=60.0, at_stop=60.0)
    )
    monkeypatch.setattr(connections, "INVITED", 0.01)
    head, rest = exchange(worker, visitor, post("/read", 4, "", "Expect: 100-continue\r\n"))
    assert head == b"HTTP/1.1 100 Continue"
    assert rest.startswith(b"HTTP/1.1 408 ")
    assert is_closed(worker, visitor)


@pytest.mark.usefixtures("app")
def test_a_broken_body_that_nobody_reads_spoils_no_answer(
    worker: Any, visitor: socket.socket
) -> None:
    chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n"
    head, body = exchange(worker, visitor, chunked.encode())
    assert (b"\r\nConnection: close" in head, body) == (True, b"nothing")
    assert is_closed(worker, visitor)
