"""What a driver asks of whoever carries out its conversation: a request, a pause, a call.

A driver speaks no I/O. Its methods are generators: each yields a step and is resumed with the
step's result, or with the `SendError` that says why there is none. So any number of steps reads
from top to bottom, and thousands of conversations run in one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

T = TypeVar("T")


class Method(StrEnum):
    """The kinds of request; of them POST alone must not be repeated."""

    GET = "GET"
    POST = "POST"
    UPLOAD = "UPLOAD"


class Form(NamedTuple):
    """A multipart form: plain fields, and one file that is read from disk while it is sent."""

    fields: Mapping[str, str]
    path: Path
    filename: str
    mimetype: str


class Request(NamedTuple):
    """An HTTP request; its result is an `Answer`.

    `headers` are `Name: value` lines. Hand in the same objects every time: URL and headers are
    compared by identity, which makes a request cheap. `once`: it must not arrive twice, so a
    failure after it left is an UncertainError; any other failure is a RetryableError.
    """

    method: Method
    url: str
    headers: Sequence[str]
    body: bytes = b""
    form: Form | None = None
    once: bool = False


construct: Final = tuple.__new__
"""Makes a named tuple in a third of the time that calling its class takes."""


class Pause(NamedTuple):
    """A wait of so many seconds; it has no result.

    `may_break`: nothing is lost where it ends early, as the process is about to end.
    """

    seconds: float
    may_break: bool = False
    once: bool = False


class Workers:
    """Threads for calls that block, started when they are first needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """Return the threads; made after any fork, as nothing is called before."""
        return ThreadPoolExecutor(self._threads, thread_name_prefix=f"crier-{self._name}")


class Call(NamedTuple):
    """A function that blocks, run in a thread; its result is the function's."""

    workers: Workers
    function: Callable[[], Any]
    once: bool = False


Step = Request | Pause | Call

Conversation = Generator[Step, Any, T]
"""Steps that end in a result of type T, or raise a SendError."""


def post(url: str, body: bytes, headers: Sequence[str]) -> Request:
    """Send what must not arrive twice."""
    return construct(Request, (Method.POST, url, headers, body, None, True))


def get(url: str, headers: Sequence[str]) -> Request:
    """Ask; a question may be asked twice."""
    return Request(Method.GET, url, headers)


def upload(url: str, form: Form, headers: Sequence[str]) -> Request:
    """Send a file in a form; a second copy of it harms nobody."""
    return Request(Method.UPLOAD, url, headers, form=form)


def result(value: T) -> Conversation[T]:
    """Return a value that needs no step."""
    yield from ()
    return value
