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

from service import gunicorn_worker
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
    pieces = gunicorn_worker.DRAINED // gunicorn_worker.PIECE
    taken = 0
    while worker.nr_conns:
        with suppress(BlockingIOError):
            client.send(b"x" * gunicorn_worker.PIECE)
        worker.wait_for_and_dispatch_events(timeout=60)
        taken += 1
    assert taken >= pieces


@pytest.fixture
def visitor(worker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Return the other end of a connection that has just been accepted."""
    monkeypatch.setattr(gunicorn_worker, "_SILENCE", 1)
    ours, theirs = socket.socketpair()
    with closing(theirs):
        worker.nr_conns = 1
        worker.enqueue_req(TConn(worker.cfg, ours, "", ""))
        yield theirs


def test_no_thread_waits_for_a_client_that_sends_nothing(
    worker: Any, visitor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[TConn] = []
    monkeypatch.setattr(worker, "handle", begun.append)
    assert not begun
    visitor.sendall(b"G")
    worker.wait_for_and_dispatch_events(timeout=60)
    until(lambda: begun)
    assert not worker.pending_conns
    begun[0].close()


def test_a_client_that_does_not_finish_a_request_is_told_so(
    worker: Any, visitor: socket.socket
) -> None:
    visitor.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
    worker.wait_for_and_dispatch_events(timeout=60)  # it has come
    worker.wait_for_and_dispatch_events(timeout=60)  # its thread has ended
    head, _, body = visitor.recv(4096).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout")
    assert "within 30 seconds" in json.loads(body)["message"]
    assert visitor.recv(1) == b""
    visitor.close()
    worker.wait_for_and_dispatch_events(timeout=60)
    assert worker.nr_conns == 0
