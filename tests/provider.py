"""A provider on the loopback that speaks both WhatsApp APIs and lies as real ones do.

It answers every request as the vendor would, keeps what it was asked and what it took for
delivery, and does what its script says instead, once per entry. It runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from email.policy import HTTP
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, urlsplit

HUGE = 50_000_000
BACKLOG = 4_096
"""Connections that wait for its thread: the kernel resets some that come after so many."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked, when (seconds of the monotonic clock), and what it met."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)
    fault: Fault | None = None

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, tuple[str, str, bytes]]:
        """The body read as a multipart form: name → (filename, type, bytes)."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        parts = BytesParser(policy=HTTP).parsebytes(head + self.body).iter_parts()
        return {
            str(part.get_param("name", header="content-disposition")): (
                part.get_filename() or "",
                part.get_content_type(),
                cast("bytes", part.get_payload(decode=True)),
            )
            for part in parts
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON where `body` is not bytes."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)

    def __bytes__(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in (headers | self.headers).items()]
        return "\r\n".join([f"HTTP/1.1 {self.status} x", *lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Fault:
    """One way of not behaving; `takes`: the message is delivered all the same.

    `early`: it happens when the head of the request is there, before its body is read.
    """

    act: Callable[[Connection, Reply], None]
    takes: bool = False
    early: bool = False


def instead(status: int, body: Any = b"", *, takes: bool = False, **headers: str) -> Fault:
    """Answer something else; `retry_after` in a name becomes `Retry-After`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(lambda to, _usual: to.say(bytes(Reply(status, body, named))), takes=takes)


def late(seconds: float) -> Fault:
    """Answer as usual, but later."""
    return Fault(lambda to, usual: to.say_later(seconds, bytes(usual)), takes=True)


def once(condition: Callable[[], object]) -> Fault:
    """Answer as usual, as soon as a condition is true."""
    return Fault(lambda to, usual: to.say_once(condition, bytes(usual)), takes=True)


def dripping(seconds: float) -> Fault:
    """Answer as usual, with so much time between two bytes."""
    return Fault(lambda to, usual: to.drip(bytes(usual), seconds), takes=True)


def _hang_up(to: Connection, _usual: Reply) -> None:
    to.close()


def _half(to: Connection, usual: Reply) -> None:
    to.say(bytes(usual)[:-9])
    to.close()


def _huge(to: Connection, _usual: Reply) -> None:
    to.say(bytes(Reply(200, b" " * HUGE)))


def _huge_unannounced(to: Connection, _usual: Reply) -> None:
    to.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    to.say(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
    to.say((b"100000\r\n" + b" " * 0x100000 + b"\r\n") * (HUGE // 0x100000))


def _garbage(to: Connection, _usual: Reply) -> None:
    to.say(b"\x16\x03\x01 220 mail.example ESMTP ready\r\n")
    to.close()


def _answer_and_close(to: Connection, usual: Reply) -> None:
    to.say(bytes(usual))
    to.close()


RESET_BEFORE_BODY = Fault(lambda to, _usual: to.reset(), early=True)
RESET_AFTER_BODY = Fault(lambda to, _usual: to.reset(), takes=True)
CLOSE_AFTER_BODY = Fault(_hang_up, takes=True)
HALF_AN_ANSWER = Fault(_half, takes=True)
GARBAGE = Fault(_garbage, takes=True)
HUGE_ANSWER = Fault(_huge, takes=True)
HUGE_UNANNOUNCED = Fault(_huge_unannounced, takes=True)
DRIP = dripping(0.05)
SILENCE = Fault(lambda _to, _usual: None, takes=True)
ANSWER_AND_CLOSE = Fault(_answer_and_close, takes=True)
WRONG_JSON = instead(200, {"fortune": "A message is on its way."}, takes=True)
REDIRECT = instead(302, Location="http://127.0.0.1:1/")


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that the provider took for delivery."""

    recipient: str
    reference: str
    body: dict[str, Any]
    message_id: str


class Provider:
    """The loopback server; use it as a context manager.

    `script` holds what the next messages meet, None for the usual; `choose` decides where the
    script is empty. A connection that `lets_in` refuses is reset at once; `turned_away` counts
    those and the requests that met an early fault, or may have met a connection's end.
    `files` are what people sent, by path. `engine_takes_ids`, `session_status` and `number` steer
    what it says of itself.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[Request] = []
        self.taken: list[Taken] = []
        self.media: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.script: deque[Fault | None] = deque()
        self.choose: Callable[[Request], Fault | None] = lambda _request: None
        self.lets_in: Callable[[], bool] = lambda: True
        self.turned_away = 0
        self.connections = 0
        self.engine_takes_ids = True
        self.session_status = "WORKING"
        self.number: dict[str, Any] = {"id": "106540352242922", "status": "CONNECTED"}
        self.templates: list[dict[str, Any]] = []
        self.exists: dict[str, str] = {}
        self.message_status = ""
        self._minted = itertools.count(1)
        self._known: set[str] = set()
        self._open: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    @property
    def messages(self) -> list[Request]:
        """What it was asked to send, without uploads and questions."""
        return [each for each in self.requests if _is_message(each.method, each.path)]

    @property
    def uploads(self) -> list[Request]:
        """The files that it was given."""
        return [each for each in self.requests if each.path.endswith("/media")]

    def then(self, *faults: Fault | None) -> None:
        """Add to the script."""
        self.script.extend(faults)

    def hang_up(self) -> None:
        """Close every connection that is open, as an idle time-out does."""
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()

    async def _hang_up(self) -> None:
        lost = [connection.close() for connection in list(self._open)]
        await asyncio.gather(*lost)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = self._loop.create_server(
            lambda: Connection(self), "127.0.0.1", 0, ssl=self._tls, backlog=BACKLOG
        )
        server = self._loop.run_until_complete(serving)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for connection in list(self._open):
            connection.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def fault(self, method: str, path: str) -> Fault | None:
        """Return what the next request meets, which is the script's only for a message."""
        if not _is_message(method, path):
            return None
        return self.script.popleft() if self.script else None

    def answer(self, request: Request, fault: Fault | None) -> Reply:
        """Return the vendor's usual answer, and keep what was taken."""
        self.requests.append(request)
        takes = fault is None or fault.takes
        for pattern, answer in _ROUTES:
            if re.fullmatch(pattern, f"{request.method} {request.path}"):
                return answer(self, request, takes)
        return Reply(404, {"message": f"Cannot {request.method} {request.path}"})

    def take(self, request: Request, recipient: str, reference: str, message_id: str) -> None:
        """Keep a message for delivery; one of an id that was there already is dropped."""
        if message_id not in self._known:
            self._known.add(message_id)
            self.taken.append(Taken(recipient, reference, request.json, message_id))

    def new_id(self) -> str:
        """Return a number that was not used before, as hex digits."""
        return f"{next(self._minted):020X}"


def _is_message(method: str, path: str) -> bool:
    return method == "POST" and (path.endswith("/messages") or path.startswith("/api/send"))


def _cloud_message(provider: Provider, request: Request, takes: bool) -> Reply:  # noqa: FBT001
    message = request.json
    media_id = message.get(message["type"], {})
    if isinstance(media_id, dict) and media_id.get("id", "") not in {"", *provider.media}:
        details = "Media ID is invalid, does not exist or has expired"
        return Reply(400, graph_error(100, "(#100) Invalid parameter", details))
    message_id = f"wamid.{provider.new_id()}"
    person = message.get("to") or message["recipient"]
    if takes:
        reference = message.get("biz_opaque_callback_data", "")
        provider.take(request, person, reference, message_id)
    contacts = [{"input": person, "wa_id": person}]
    answer = {"messaging_product": "whatsapp", "contacts": contacts}
    status = {"message_status": provider.message_status} if provider.message_status else {}
    return Reply(200, {**answer, "messages": [{"id": message_id, **status}]})


def _cloud_media(provider: Provider, request: Request, _takes: bool) -> Reply:  # noqa: FBT001
    media_id = str(len(provider.media) + 1_000_000)
    provider.media[media_id] = request.form["file"][2]
    return Reply(200, {"id": media_id})


def _cloud_file(provider: Provider, request: Request) -> Reply:
    """Tell where a file is that somebody sent."""
    path = f"/files/{request.path.rpartition('/')[2]}"
    if path not in provider.files:
        return Reply(400, graph_error(100, "Unsupported get request.", error_subcode=33))
    return Reply(200, {"url": f"{provider.url}{path}?hash=x", "mime_type": "image/jpeg"})


def _file(provider: Provider, request: Request, _takes: bool) -> Reply:  # noqa: FBT001
    given = {request.headers.get("authorization"), request.headers.get("x-api-key")}
    if request.path not in provider.files or given.isdisjoint({"Bearer EAAG-token", "waha-key"}):
        return Reply(404, {"message": "Not found"})
    return Reply(200, provider.files[request.path])


def _cloud_number(provider: Provider, request: Request, _takes: bool) -> Reply:  # noqa: FBT001
    if "phone_number_id" in request.query:
        return _cloud_file(provider, request)
    if request.headers.get("authorization") != "Bearer EAAG-token":
        return Reply(401, graph_error(190, "Invalid OAuth access token"))
    return Reply(200, provider.number)


def _waha_message(provider: Provider, request: Request, takes: bool) -> Reply:  # noqa: FBT001
    message = request.json
    if provider.session_status != "WORKING":
        return Reply(422, not_working(provider.session_status))
    key = message.get("id") if provider.engine_takes_ids else None
    key = key or f"3EB0{provider.new_id()}"
    if takes:
        provider.take(request, message["chatId"], "", key)
    return Reply(201, {"id": f"true_{message['chatId']}_{key}", "ack": 0})


def _waha_session(provider: Provider, request: Request, _takes: bool) -> Reply:  # noqa: FBT001
    if request.headers.get("x-api-key") != "waha-key":
        return Reply(401, {"message": "Unauthorized", "statusCode": 401})
    return Reply(200, {"name": "default", "status": provider.session_status})


def _waha_new_id(provider: Provider, _request: Request, _takes: bool) -> Reply:  # noqa: FBT001
    if provider.engine_takes_ids:
        return Reply(200, {"id": f"3EB0{provider.new_id()}"})
    message = "The method is not implemented by the engine."
    return Reply(422, {"message": message, "error": "Unprocessable Entity", "statusCode": 422})


def graph_error(code: int, message: str, details: str = "", **extra: Any) -> dict[str, Any]:
    """Return an error as Meta writes it."""
    error = {
        "message": message,
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "A1",
        **extra,
    }
    if details:
        error["error_data"] = {"messaging_product": "whatsapp", "details": details}
    return {"error": error}


def not_working(status: str) -> dict[str, Any]:
    """Return what WAHA says when its session cannot send."""
    error = "Session status is not as expected. Try again later or restart the session"
    return {"error": error, "session": "default", "status": status, "expected": ["WORKING"]}


def _cloud_templates(provider: Provider, request: Request, takes: bool) -> Reply:  # noqa: FBT001
    """Answer with a page of one template."""
    del takes
    place = int(request.query.get("after", ["0"])[0])
    paging: dict[str, Any] = {"cursors": {"before": "x", "after": str(place + 1)}}
    if place + 1 < len(provider.templates):
        paging["next"] = "https://graph.facebook.com/next"
    return Reply(body={"data": provider.templates[place : place + 1], "paging": paging})


def _waha_exists(provider: Provider, request: Request, takes: bool) -> Reply:  # noqa: FBT001
    del takes
    number = request.query["phone"][0]
    known = provider.exists.get(number, f"{number}@c.us")
    said = {"numberExists": True, "chatId": known} if known else {"numberExists": False}
    return Reply(body=said)


_ROUTES: list[tuple[str, Callable[[Provider, Request, bool], Reply]]] = [
    (r"POST /v[0-9.]+/[0-9]+/(marketing_)?messages", _cloud_message),
    (r"POST /v[0-9.]+/[0-9]+/media", _cloud_media),
    (r"GET /v[0-9.]+/[0-9]+", _cloud_number),
    (r"GET /v[0-9.]+/[0-9]+/message_templates", _cloud_templates),
    (r"GET (/api)?/files/.+", _file),
    (r"GET /api/contacts/check-exists", _waha_exists),
    (r"POST /api/send[A-Za-z]+", _waha_message),
    (r"GET /api/sessions/default", _waha_session),
    (r"GET /api/default/new-message-id", _waha_new_id),
]


class Connection(asyncio.Protocol):
    """One connection: requests in, answers or faults out."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._received = b""
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._fault: Fault | None = None
        self._transport: asyncio.Transport
        self._lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._provider.connections += 1
        self._provider._open.add(self)  # noqa: SLF001 - one thing in two classes
        if not self._provider.lets_in():
            self._provider.turned_away += 1
            self.reset()

    def connection_lost(self, _error: Exception | None) -> None:
        self._lost.set_result(None)
        self._provider._open.discard(self)  # noqa: SLF001 - one thing in two classes

    def data_received(self, data: bytes) -> None:
        self._received += data
        while not self._transport.is_closing() and self._take_request():
            pass

    def _take_request(self) -> bool:
        if self._head is None and not self._take_head():
            return False
        assert self._head is not None
        method, target, headers = self._head
        length = int(headers.get("content-length", 0))
        if len(self._received) < length:
            return False
        body, self._received = self._received[:length], self._received[length:]
        parts = urlsplit(target)
        request = Request(method, parts.path, parse_qs(parts.query), headers, body)
        fault = self._fault or self._provider.choose(request)
        usual = self._provider.answer(replace(request, fault=fault), fault)
        self._head = self._fault = None
        if fault:
            fault.act(self, usual)
        else:
            self.say(bytes(usual))
        return True

    def _take_head(self) -> bool:
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        headers = dict(_split(lines))
        self._head, self._received = (method, target, headers), rest
        self._fault = self._provider.fault(method, urlsplit(target).path)
        if self._fault and self._fault.early:
            self._provider.turned_away += 1
            self._fault.act(self, Reply())
            return False
        return True

    def say(self, answer: bytes) -> None:
        """Write."""
        if not self._transport.is_closing():
            self._transport.write(answer)

    def say_once(self, condition: Callable[[], object], data: bytes) -> None:
        if condition():
            self.say(data)
        else:
            asyncio.get_running_loop().call_later(0.01, self.say_once, condition, data)

    def say_later(self, seconds: float, answer: bytes) -> None:
        """Write after some time."""
        asyncio.get_running_loop().call_later(seconds, self.say, answer)

    def drip(self, answer: bytes, seconds: float) -> None:
        """Write a byte now and then, for minutes."""
        self.say(answer[:1])
        if answer and not self._transport.is_closing():
            asyncio.get_running_loop().call_later(seconds, self.drip, answer[1:], seconds)

    def close_later(self, seconds: float) -> None:
        """End the connection in an orderly way after some time, whatever is on its way then."""

        def close() -> None:
            self._provider.turned_away += 1
            self._transport.close()

        asyncio.get_running_loop().call_later(seconds, close)

    def close(self) -> asyncio.Future[None]:
        """End the connection in an orderly way."""
        self._transport.close()
        return self._lost

    def abort(self) -> None:
        """Let go of the connection."""
        self._transport.abort()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _split(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition(":")
        yield name.lower(), value.strip()
