"""A provider that writes down when each request came."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_ANSWER = b'{"messages":[{"id":"wamid.1"}]}'


class Listener(ThreadingHTTPServer):
    """The server; `calls` are the moments of `time.perf_counter` at which requests began."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[float] = []

    @property
    def url(self) -> str:
        """The address to use as the Cloud API's base."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def do_POST(self) -> None:
        self.server.calls.append(time.perf_counter())
        self.rfile.read(int(self.headers["Content-Length"]))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(_ANSWER)}\r\n\r\n".encode()
        self.wfile.write(head + _ANSWER)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[Listener]:
    """Run a listener."""
    listener = Listener()
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield listener
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
