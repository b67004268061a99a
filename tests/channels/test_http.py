"""The HTTP client against a provider on the loopback."""

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.channels import answers
from service.channels.answers import Answer
from service.channels.base import (
    BlockedError,
    RequestError,
    RetryableError,
    SendError,
    Surroundings,
    UncertainError,
)
from service.channels.http import Client, Form, refusal
from tests import provider as lies
from tests.provider import Fault, Provider

HEADERS = ("Content-Type: application/json", "Authorization: Bearer EAAG-token")
LOOPBACK = ip_address("127.0.0.1")
MESSAGE = b'{"to":"2348179803743","type":"text","text":{"body":"Hello"}}'


@pytest.fixture
def client(surroundings: Surroundings) -> Client:
    return Client(surroundings, guarded=False)


@pytest.fixture
def hasty(surroundings: Surroundings) -> Client:
    return Client(replace(surroundings, send_timeout=1.0), guarded=False)


@pytest.fixture
def url(provider: Provider) -> str:
    return f"{provider.url}/v23.0/106540352242922/messages"


def test_an_answer_has_its_status_body_and_headers(
    client: Client, provider: Provider, url: str
) -> None:
    provider.then(lies.instead(429, b"slow down", Retry_After="7", X_Odd="yes"))

    answer = client.post(url, MESSAGE, HEADERS)

    assert (answer.status, answer.body, answer.wait) == (429, b"slow down", 7)
    assert answer.header("x-odd") == "yes"
    assert answer.header("X-Absent") == ""


def test_header_lines_are_read_again_from_the_first_refusal_on(
    client: Client, provider: Provider, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "CALM", 2)
    refused = lies.instead(429, b"slow down", Retry_After="7", X_Odd="yes")
    provider.then(None, None, refused, refused, None)
    good, _, first, second, after = [client.post(url, MESSAGE, HEADERS) for _ in range(5)]
    assert good.header("Content-Type") == "application/json"
    # What libcurl itself reads of it is known at once.
    assert (first.wait, first.header("X-Odd")) == (7, "")
    assert (second.wait, second.header("X-Odd")) == (7, "yes")
    assert after.header("Content-Type") == "application/json"


def test_requests_of_one_thread_share_a_connection(
    client: Client, provider: Provider, url: str
) -> None:
    for _ in range(5):
        client.post(url, MESSAGE, HEADERS)
        client.get(f"{provider.url}/v23.0/106540352242922", HEADERS)

    assert provider.connections == 1
    assert [each.method for each in provider.requests] == ["POST", "GET"] * 5
    assert {each.body for each in provider.messages} == {MESSAGE}


def test_a_thread_keeps_a_connection_for_each_of_some_providers(
    client: Client, provider: Provider, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = url.replace("127.0.0.1", "localhost")

    for each in (url, other, url, other):
        client.post(each, MESSAGE, HEADERS)
    assert provider.connections == 2

    monkeypatch.setattr("service.channels.http.MOST_PROVIDERS", 1)
    monkeypatch.setattr("service.channels.http.MOST_URLS", 1)
    third = url.replace("127.0.0.1", "LocalHost")
    for each in (third, url, other):
        client.post(each, MESSAGE, HEADERS)
    assert provider.connections == 5
    assert len(provider.messages) == 7


def test_threads_do_not_mix_their_requests(client: Client, provider: Provider, url: str) -> None:
    def send(number: int) -> int:
        return client.post(url, MESSAGE.replace(b"Hello", b"%d" % number), HEADERS).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(400))) == {200}

    said = {each.json["text"]["body"] for each in provider.messages}
    assert said == {str(number) for number in range(400)}


@pytest.mark.parametrize("fault", [lies.CLOSE_AFTER_BODY, lies.RESET_AFTER_BODY])
def test_a_message_is_not_repeated_when_a_kept_connection_breaks_under_it(
    client: Client, provider: Provider, url: str, fault: Fault
) -> None:
    provider.then(None, fault)
    client.post(url, MESSAGE, HEADERS)

    with pytest.raises(UncertainError):
        client.post(url, MESSAGE, HEADERS)

    assert len(provider.messages) == 2
    client.post(url, MESSAGE, HEADERS)
    assert len(provider.messages) == 3


def test_a_connection_that_the_provider_closed_meanwhile_costs_nothing(
    client: Client, provider: Provider, url: str
) -> None:
    client.post(url, MESSAGE, HEADERS)
    provider.hang_up()

    assert client.post(url, MESSAGE, HEADERS).status == 200
    assert (len(provider.messages), provider.connections) == (2, 2)


def test_a_connection_that_the_provider_said_to_close_is_not_used_again(
    client: Client, provider: Provider, url: str
) -> None:
    provider.then(lies.instead(200, {}, Connection="close"))

    assert client.post(url, MESSAGE, HEADERS).status == 200
    assert client.post(url, MESSAGE, HEADERS).status == 200
    assert (len(provider.messages), provider.connections) == (2, 2)


def test_a_connection_closed_behind_an_answer_costs_nothing(
    client: Client, provider: Provider, url: str
) -> None:
    provider.then(lies.ANSWER_AND_CLOSE)

    assert client.post(url, MESSAGE, HEADERS).status == 200
    provider.hang_up()
    assert client.post(url, MESSAGE, HEADERS).status == 200


@pytest.mark.parametrize(
    "fault",
    [
        lies.RESET_BEFORE_BODY,
        lies.RESET_AFTER_BODY,
        lies.CLOSE_AFTER_BODY,
        lies.HALF_AN_ANSWER,
        lies.GARBAGE,
        lies.HUGE_ANSWER,
        lies.HUGE_UNANNOUNCED,
    ],
)
def test_what_breaks_after_the_message_left_is_uncertain(
    client: Client, provider: Provider, url: str, fault: Fault
) -> None:
    provider.then(fault)

    with pytest.raises(UncertainError) as caught:
        client.post(url, MESSAGE, HEADERS)

    assert caught.value.code == "no_answer"
    assert client.post(url, MESSAGE, HEADERS).status == 200


@pytest.mark.parametrize("fault", [lies.SILENCE, lies.DRIP])
def test_an_answer_that_takes_too_long_is_uncertain(
    hasty: Client, provider: Provider, url: str, fault: Fault
) -> None:
    provider.then(fault)

    with pytest.raises(UncertainError, match="did not answer within 1 seconds: "):
        hasty.post(url, MESSAGE, HEADERS)


def test_a_provider_that_takes_no_connection_is_told_by_the_time_it_was_given(
    surroundings: Surroundings,
) -> None:
    hasty = Client(replace(surroundings, connect_timeout=0.2), guarded=False)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        # Linux lets one more wait than the backlog says, and drops whoever comes after it.
        with (
            socket.create_connection(("127.0.0.1", port)),
            pytest.raises(RetryableError, match=r"within 0\.2 seconds: ") as caught,
        ):
            hasty.post(f"http://127.0.0.1:{port}/", MESSAGE, HEADERS)

    assert caught.value.code == "unreachable"


def test_a_message_of_which_not_all_left_may_be_sent_again(
    client: Client, provider: Provider, url: str
) -> None:
    provider.then(lies.RESET_BEFORE_BODY)

    with pytest.raises(RetryableError) as caught:
        client.post(url, b" " * 30_000_000, HEADERS)

    assert caught.value.code == "unreachable"
    assert provider.messages == []


def test_a_provider_that_is_not_there_is_tried_later(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    with pytest.raises(RetryableError):
        client.post(f"http://127.0.0.1:{port}/", MESSAGE, HEADERS)


def test_a_question_that_got_no_answer_is_asked_later(hasty: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(RetryableError):
        hasty.get(f"http://127.0.0.1:{mute.getsockname()[1]}/", HEADERS)


def test_a_redirection_is_an_answer_like_others(
    client: Client, provider: Provider, url: str
) -> None:
    provider.then(lies.REDIRECT)

    assert client.post(url, MESSAGE, HEADERS).status == 302
    assert len(provider.requests) == 1


def test_a_private_address_is_refused_at_the_moment_of_connecting(
    surroundings: Surroundings, provider: Provider, url: str
) -> None:
    guarded = Client(surroundings)

    for address in (url, url.replace("127.0.0.1", "localhost"), "http://[::1]:1/"):
        with pytest.raises(BlockedError) as caught:
            guarded.post(address, MESSAGE, HEADERS)
        assert caught.value.code == "address"
        assert "PRIVATE_ADDRESSES=true" in caught.value.reason

    assert provider.connections == 0


def test_only_http_is_spoken(client: Client, tmp_path: Path) -> None:
    with pytest.raises(BlockedError) as caught:
        client.get(f"file://{tmp_path}", HEADERS)

    assert caught.value.code == "url"


def test_the_proxy_of_the_environment_is_not_used(
    client: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert client.post(url, MESSAGE, HEADERS).status == 200


def test_the_proxy_of_the_settings_is_used(surroundings: Surroundings, provider: Provider) -> None:
    client = Client(replace(surroundings, proxy=provider.url))

    client.post("http://graph.example/v23.0/1/messages", MESSAGE, HEADERS)

    assert provider.requests[0].headers["host"] == "graph.example"


def test_a_file_is_uploaded_as_it_is(client: Client, provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 20_000)
    form = Form(
        {"messaging_product": "whatsapp", "type": "image/jpeg"}, path, "Kö.jpg", "image/jpeg"
    )

    answer = client.upload(f"{provider.url}/v23.0/1/media", form, HEADERS[1:])
    client.post(f"{provider.url}/v23.0/1/messages", MESSAGE, HEADERS)

    sent = provider.requests[0].form
    assert answer.status == 200
    assert sent["messaging_product"][2] == b"whatsapp"
    assert sent["file"] == ("Kö.jpg", "image/jpeg", path.read_bytes())
    assert provider.requests[1].body == MESSAGE


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[int]:
    """Serve TLS with a certificate that nobody vouches for, on the port that is returned."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path / "impostor.pem"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_shake_hands, args=(server, context))
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_a_certificate_that_nobody_vouches_for_blocks_the_session(
    client: Client, impostor: int
) -> None:
    with pytest.raises(BlockedError) as caught:
        client.post(f"https://127.0.0.1:{impostor}/", MESSAGE, HEADERS)

    assert caught.value.code == "certificate"


def test_over_tls_connections_are_kept(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After its handshake a server sends tickets unasked: no reason to take it for out of step.
    path = _certificate(tmp_path / "known.pem")
    monkeypatch.setattr("certifi.where", lambda: str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    client = Client(surroundings, guarded=False)
    with Provider(context) as provider:
        url = f"{provider.url}/v23.0/106540352242922/messages"
        for _ in range(5):
            assert client.post(url, MESSAGE, HEADERS).status == 200
        assert provider.connections == 1
        for _ in range(5):
            assert {
                getattr(e, "status", e) for e in client.post_all(url, [MESSAGE] * 4, HEADERS)
            } == {200}
        assert provider.connections == 5
    assert len(provider.messages) == 25


REFUSALS: list[tuple[int, type[SendError], float | None]] = [
    (200, UncertainError, None),
    (302, BlockedError, None),
    (400, RequestError, None),
    (401, BlockedError, None),
    (404, BlockedError, None),
    (408, RetryableError, 9.0),
    (413, RequestError, None),
    (429, BlockedError, 9.0),
    (500, UncertainError, None),
    (502, UncertainError, None),
    (503, RetryableError, 9.0),
    (504, UncertainError, None),
    (529, RetryableError, 9.0),
]


@pytest.mark.parametrize(("status", "kind", "wait"), REFUSALS)
def test_a_status_by_itself_has_a_meaning(
    status: int, kind: type[SendError], wait: float | None
) -> None:
    error = refusal(Answer(status, b"", 9.0, ()))

    assert type(error) is kind
    assert getattr(error, "wait", None) == wait


def _shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = server.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)
    except OSError:
        connection.close()


def _certificate(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
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
