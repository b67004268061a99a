"""HTTP exchanges over TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.channels.base import BlockedError, Surroundings
from service.channels.steps import post
from tests.channels.test_exchanges import HEADERS, MESSAGE, line_with, statuses
from tests.provider import Provider

LOOPBACK = ip_address("127.0.0.1")


@pytest.mark.parametrize("days", [-1, 1], ids=["expired", "vouched for by nobody"])
def test_a_certificate_that_is_not_good_blocks_the_session(
    surroundings: Surroundings, tmp_path: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _certificate(tmp_path / "impostor.pem", days)
    if days < 0:
        monkeypatch.setattr("certifi.where", lambda: str(path))
    with (
        line_with(surroundings) as line,
        _impostor(path) as port,
        pytest.raises(BlockedError) as caught,
    ):
        line.answer(post(f"https://127.0.0.1:{port}/", MESSAGE, HEADERS))

    assert caught.value.code == "certificate"


def test_over_tls_connections_are_kept(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After its handshake a server sends tickets unasked: no reason to take it for out of step.
    path = _certificate(tmp_path / "known.pem")
    monkeypatch.setattr("certifi.where", lambda: str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with Provider(context) as provider, line_with(surroundings) as line:
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


def _certificate(path: Path, days: int = 1) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path
