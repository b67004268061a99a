"""gunicorn's worker as the service needs it: no client's connection holds up the others.

`gunicorn.conf.py` names it.
"""

from __future__ import annotations

import json
import signal
import time
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from socket import SHUT_WR, socket
from typing import TYPE_CHECKING, Any

from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from service.connections import (
    PIECE,
    Connection,
    GivenUpError,
    HostError,
    Parser,
    StoppingError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from types import FrameType

    from gunicorn.workers.gthread import TConn

    from service.dispatch.dispatcher import Dispatcher
    from service.parts import Crier

_DEFECT = (HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong that should not have.")
_REFUSALS: dict[type[Exception], tuple[HTTPStatus, str]] = {
    errors.InvalidResponseHeader: _DEFECT,
    errors.InvalidResponseHeaderName: _DEFECT,
    errors.LimitRequestLine: (
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "The address of this request is too long.",
    ),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "This request has too many headers, or one that is too long.",
    ),
    errors.UnsupportedTransferCoding: (
        HTTPStatus.NOT_IMPLEMENTED,
        "A body comes with its length, or in chunks.",
    ),
    StoppingError: (HTTPStatus(StoppingError.status), StoppingError.sentence),
    GivenUpError: (HTTPStatus(GivenUpError.status), GivenUpError.sentence),
    HostError: (HTTPStatus.BAD_REQUEST, HostError.sentence),
    errors.ParseException: (HTTPStatus.BAD_REQUEST, "This is not a request of HTTP."),
    Exception: _DEFECT,
}
"""What is answered in place of a request that cannot be read, by the first class that fits."""


DRAINED = 64 * 1024 * 1024
"""The most bytes to read and discard so that a client can finish sending."""

_LINGERING = 30.0
"""The most seconds for that."""


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn is not annotated
    """gunicorn's threads, which end in one way, and refuse requests in the form of all answers."""

    crier: Crier | None = None
    """The service, from the moment on that it may dispatch."""

    alive: bool
    has_lost_dispatcher = False

    def start_dispatcher(self, crier: Crier, make: Callable[[], Dispatcher]) -> None:
        """Start a dispatcher beside this worker; if that ends, this worker ends as well."""
        signal.signal(signal.SIGCHLD, self._handle_child)
        crier.dispatcher.start(make, crier.settings, self._close_listeners)

    def _close_listeners(self) -> None:
        for listener in self.sockets:
            listener.close()

    def _handle_child(self, _sig: int, _frame: FrameType | None) -> None:
        """Have the main loop end: gunicorn then starts another worker, with a new dispatcher."""
        if self.crier and self.crier.dispatcher.has_ended() and self.alive:
            self.has_lost_dispatcher = True
            self.alive = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Have the main loop end, and claim nothing more from now on.

        A handler runs between any two lines of the main thread, in the middle of whatever that
        does. It only sets flags: it takes no lock, which the main thread may hold, and raises
        nothing.
        """
        if self.crier:
            self.crier.dispatcher.drain()
        super().handle_exit(sig, frame)

    handle_quit = handle_exit
    """SIGINT and SIGQUIT, too. gunicorn's own waits for a lock of its pool of threads."""

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection to a thread, once a request has come, or the start of a long one.

        gunicorn's own lets a thread wait for that.
        """
        readable = partial(self.on_pending_socket_readable, conn)
        if conn.parser is None and not conn.data_ready:
            conn.sock = Connection(conn.sock.detach(), self._is_stopping)
            if not self.cfg.is_ssl:  # gunicorn wraps the socket first
                conn.parser = Parser(self.cfg, conn.sock, conn.client)
            self._wait_for(conn, readable, time.monotonic() + self.cfg.keepalive)
        elif isinstance(conn.parser, Parser) and not conn.parser.is_ready():
            until = conn.parser.deadline()
            self._wait_for(conn, readable, until if self.alive else min(until, conn.timeout))
        else:
            super().enqueue_req(conn)

    def on_pending_socket_readable(self, conn: TConn, client: socket) -> None:
        """Take what has come on a connection whose request has not come yet."""
        if isinstance(conn.parser, Parser):
            conn.parser.gather()
        super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: TConn, client: socket) -> None:
        """Take what has come on a connection that has had an answer."""
        if isinstance(conn.parser, Parser):
            conn.parser.gather()
        super().on_client_socket_readable(conn, client)

    def murder_pending(self) -> None:
        """Give up those who have not sent their request in time. gunicorn's own tells nobody."""
        now = time.monotonic()
        for conn in [each for each in self.pending_conns if each.timeout <= now]:
            self.pending_conns.remove(conn)
            self.poller.unregister(conn.sock)
            if isinstance(conn.parser, Parser) and conn.parser.is_waiting:
                refusal = GivenUpError() if self.alive else StoppingError()
                self.handle_error(None, conn.sock, conn.client, refusal)
            self._close(conn)

    def _is_stopping(self) -> bool:
        return not self.alive

    def _wait_for(self, conn: TConn, react: Callable[[socket], None], until: float) -> None:
        """Call something once a client has sent something; if that takes too long, close."""
        conn.sock.settimeout(0)
        conn.timeout = until
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, react)

    def _keepalive_after(self, _conn: TConn, keepalive: object) -> bool:
        """Return whether a connection can be used again: its answer has said so.

        gunicorn's own only now looks for the rest of a body that nobody wants.
        """
        return bool(keepalive)

    def _cap_keepalive(self, deadline: float) -> None:
        """Wait for no client longer than that, when the worker stops."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Keep a connection, or close it once its client has.

        gunicorn's own waits up to two seconds for that, in the loop that accepts all others.
        """
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        until = time.monotonic() + (_LINGERING if self.alive else STOP_KEEPALIVE_LINGER)
        try:
            conn.sock.shutdown(SHUT_WR)
            self._linger(conn, DRAINED, until)
        except OSError:
            self._close(conn)

    def _linger(self, conn: TConn, left: int, until: float) -> None:
        """Wait for what a client still sends; `pending_conns` ends the wait if that is nothing."""
        drain = partial(self._drain, conn, left, until)
        self._wait_for(conn, drain, min(until, time.monotonic() + self.cfg.keepalive))

    def _drain(self, conn: TConn, left: int, until: float, _sock: socket) -> None:
        """Discard what a client still sends, or its kernel would discard our answer."""
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)
        try:
            piece = conn.sock.recv(PIECE)
        except OSError:
            piece = b""
        if piece and left > 0:
            self._linger(conn, left - len(piece), until if self.alive else conn.timeout)
        else:
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def handle_error(self, _req: Any, client: Any, _addr: Any, exc: Exception) -> None:
        """Answer a request that the service never sees.

        Its address does not reach the log, as a token may be in it.
        """
        found = (refusal for kind, refusal in _REFUSALS.items() if isinstance(exc, kind))
        status, sentence = next(found)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("A request failed outside of the service.", exc_info=exc)
        else:
            self.log.warning("Refused what is no request: %s", type(exc).__name__)
        envelope = {"status": False, "message": sentence, "data": None, "errors": {}}
        with suppress(OSError):
            body = json.dumps(envelope).encode()
            write_nonblock(client, _answer(status, body, getattr(exc, "headers", {})))


def _answer(status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        "Content-Type: application/json",
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
        *(f"{name}: {text}" for name, text in headers.items()),
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
