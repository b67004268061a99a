"""Unfinished requests of one client, and how another one finds a thread of gunicorn."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack

from service.config import Settings
from tests.conftest import Tenant, on_sqlite
from tests.serving import Server, running
from tests.waiting import LIMIT, until

HEAD = (
    "POST /contact HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
)

BODY = b"{}".ljust(100_000)
"""A shorter body takes no thread until it has come."""


@on_sqlite
def test_unfinished_requests_of_a_client_leave_threads_to_others(
    settings: Settings, acme: Tenant, globex: Tenant
) -> None:
    server = Server(settings, WEB_THREADS="4")

    def status(tenant: Tenant) -> int:
        return server.ask("GET", "/session", tenant.token)[0]

    with running(server), ExitStack() as stack:
        assert (status(globex), status(acme)) == (200, 200)
        unfinished = {
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), LIMIT))
            for _ in range(6)
        }
        for each in unfinished:
            each.sendall(HEAD.format(token=acme.token, length=len(BODY)).encode())
        until(lambda: len(answered(unfinished)) == 3)
        refused = answered(unfinished)
        assert {each.recv(12) for each in refused} == {b"HTTP/1.1 429"}
        assert (status(globex), status(acme)) == (200, 429)
        for each in unfinished - refused:
            each.sendall(BODY)
            assert each.recv(12) == b"HTTP/1.1 422"
        until(lambda: status(acme) == 200)


def answered(connections: set[socket.socket]) -> set[socket.socket]:
    """Return the connections from which something can be read."""
    return {*select.select(list(connections), [], [], 0)[0]}
