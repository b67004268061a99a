"""HTTP exchanges over TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.channels.base import DriverContext
from service.channels.errors import BlockedError, RetryableError
from service.channels.steps import post
from tests.certificates import certificate
from tests.channels.test_exchanges import HEADERS, MESSAGE, line_with, statuses
from tests.provider import Provider


@pytest.mark.parametrize("days", [-1, 1], ids=["expired", "vouched for by nobody"])
def test_a_certificate_that_is_not_good_blocks_the_session(
    context: DriverContext, tmp_path: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path / "impostor.pem", days)
    if days < 0:
        monkeypatch.setattr("certifi.where", lambda: str(path))
    with (
        line_with(context) as line,
        _impostor(path) as port,
        pytest.raises(BlockedError) as caught,
    ):
        line.answer(post(f"https://127.0.0.1:{port}/", MESSAGE, HEADERS))

    assert caught.value.code == "certificate"


@pytest.mark.parametrize(
    "said", [b"", b"\x16\x03\x03\x00\x7a\x02"], ids=["nothing", "half a hello"]
)
def test_a_handshake_that_hangs_is_over_in_time_and_may_be_tried_later(
    context: DriverContext, said: bytes
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        line_with(context, connect_timeout=1.0) as line,
    ):
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        line.exchanges.begin(post(url, MESSAGE, HEADERS), "a message")
        assert line.exchanges.turn(0) == []
        connection, _ = server.accept()
        with connection:
            connection.sendall(said)
            while not (ended := line.exchanges.turn(1.0)):
                pass

    ((_, error),) = ended
    assert isinstance(error, RetryableError)
    assert (error.code, "within 1 seconds" in error.reason) == ("unreachable", True)


def test_over_tls_connections_are_kept(
    context: DriverContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After its handshake a server sends tickets unasked: no reason to take it for out of step.
    path = certificate(tmp_path / "known.pem")
    monkeypatch.setattr("certifi.where", lambda: str(path))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    with Provider(tls) as provider, line_with(context) as line:
        message = post(f"{provider.url}/v23.0/106540352242922/messages", MESSAGE, HEADERS)
        for _ in range(5):
            assert line.answer(message).status == 200
        assert provider.connections == 1
        for _ in range(5):
            assert statuses(line.ask(*[message] * 4)) == [200] * 4
        assert provider.connections == 4
    assert len(provider.messages) == 25


@contextmanager
def _impostor(path: Path) -> Iterator[int]:
    """Shake hands with one client that will not believe the certificate; give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_shake_hands, args=(server, context))
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def _shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = server.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)
    except OSError:
        connection.close()
