"""The steps of a driver's conversation: a request, a pause, a call, a wait or an entry of a batch.

A driver does no I/O. Its methods are generators. A generator yields a step and is resumed with the
result of that step, or with a `SendError`. The code of a driver therefore reads from top to bottom,
and one thread runs thousands of conversations.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from concurrent.futures import Future
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from service.channels.workers import Workers

T = TypeVar("T")


class NotAllowedError(Exception):
    """A step that must not be repeated may not begin now. Nothing was sent."""


class Method(StrEnum):
    """The HTTP methods. Only POST must not be repeated."""

    GET = "GET"
    POST = "POST"
    UPLOAD = "UPLOAD"


class Form(NamedTuple):
    """A multipart form: plain fields, and one file that is streamed from disk."""

    fields: Mapping[str, str]
    path: Path
    filename: str
    mimetype: str


class Sink(NamedTuple):
    """Where the body of an answer goes, instead of into memory: at most `most` bytes."""

    write: Callable[[bytes], Any]
    most: int


class Request(NamedTuple):
    """An HTTP request; its result is an `Answer`, without a body if that goes into a `sink`.

    `headers` are `Name: value` lines. Pass the same objects every time: URL and headers are
    compared by identity, which makes a request cheap. `once`: the request must not arrive twice. A
    failure after it was sent is then an UncertainError; any other failure is a RetryableError.
    """

    method: Method
    url: str
    headers: Sequence[str]
    body: bytes = b""
    form: Form | None = None
    once: bool = False
    sink: Sink | None = None


construct: Final = tuple.__new__
"""Creates a named tuple, three times as fast as calling its class."""


class Pause(NamedTuple):
    """A wait in seconds, without a result.

    `may_break`: the wait may end early with an error when the process ends.
    """

    seconds: float
    may_break: bool = False
    once: bool = False


class Call(NamedTuple):
    """A blocking function that runs in a thread; its result is the function's.

    `owner` is the client whose share of the threads it takes.
    """

    workers: Workers
    function: Callable[[], Any]
    once: bool = False
    owner: str = ""

    def begin(self) -> Future[Any]:
        """Start the function."""
        return self.workers.submit(self.function, self.owner)


class Wait(NamedTuple):
    """A wait for something that `begin` starts elsewhere; its result is the future's.

    `begin` may raise NotAllowedError. `once`: what it starts must not happen twice.
    """

    begin: Callable[[], Future[Any]]
    once: bool = False


class BatchEntry(NamedTuple):
    """A message that goes in one request with others of the same key.

    `send` gets the values of up to `most` messages, no two of the same name. Its result is a list:
    a result or a SendError for each.
    """

    key: Hashable
    name: Hashable
    most: int
    value: Any
    send: Callable[[list[Any]], Conversation[list[Any]]]
    once: bool = False


Step = Request | Pause | Call | Wait | BatchEntry

Conversation = Generator[Step, Any, T]
"""Steps that end in a result of type T, or raise a SendError."""


def post(url: str, body: bytes, headers: Sequence[str]) -> Request:
    """Return a POST request that must not arrive twice."""
    return construct(Request, (Method.POST, url, headers, body, None, True, None))


def get(url: str, headers: Sequence[str]) -> Request:
    """Return a GET request, which may be repeated."""
    return Request(Method.GET, url, headers)


def download(url: str, headers: Sequence[str], sink: Sink) -> Request:
    """Return a GET request for a file; its answer has no body, whatever its status."""
    return Request(Method.GET, url, headers, sink=sink)


def upload(url: str, form: Form, headers: Sequence[str]) -> Request:
    """Return a request that uploads a file. It may be repeated: a second copy does no harm."""
    return Request(Method.UPLOAD, url, headers, form=form)


def result(value: T) -> Conversation[T]:
    """Return a value that needs no step."""
    yield from ()
    return value
