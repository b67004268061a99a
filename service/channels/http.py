"""The one way in which drivers speak HTTP.

An exchange ends in one of four ways: an `Answer` (whatever its status), RetryableError (the
request did not reach the provider whole), UncertainError (it may have), or BlockedError (the
session's address is wrong, and stays wrong until somebody mends it).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

import pycurl

from service.channels.answers import Answer, Weather
from service.channels.base import (
    BlockedError,
    RequestError,
    RetryableError,
    SendError,
    Surroundings,
    UncertainError,
)
from service.channels.bundles import Bundle
from service.channels.connections import Connection

DEFAULT_HOLD: Final = 60.0
"""Seconds for which a session rests when its provider throttles it and does not say how long."""

SLOWEST_UPLOAD: Final = 100_000
"""Bytes per second below which an upload is given up."""

MOST_PROVIDERS: Final = 16
"""Connections that a thread keeps, one for each provider."""

MOST_URLS: Final = 1000
"""URLs of which a thread knows the connection without looking closer."""


class Form(NamedTuple):
    """A multipart form: plain fields, and one file that is read from disk while it is sent."""

    fields: Mapping[str, str]
    path: Path
    filename: str
    mimetype: str


class Client:
    """Connections to providers, kept alive; each thread has its own, so no call waits for another.

    With `guarded`, an address that is not public is refused at the moment of connecting; behind a
    proxy it is the proxy that connects, and that has to refuse.
    """

    def __init__(self, surroundings: Surroundings, *, guarded: bool = True) -> None:
        self._surroundings = surroundings
        self._guarded = guarded and not surroundings.proxy
        self._weather = Weather()
        self._mine = _Connections()

    def post(self, url: str, body: bytes, headers: Sequence[str]) -> Answer:
        """Send what must not arrive twice; raises UncertainError when it may have arrived.

        `headers` are `Name: value` lines. Hand in the same objects every time: URL and headers
        are compared by identity, which is what makes a request cheap.
        """
        connection = (self._mine.by_url.get(url) or self._lines_to(url)).one
        connection.aim(url, headers, pycurl.POST)
        connection.curl.setopt(pycurl.POSTFIELDS, body)
        return connection.perform(len(body))

    @property
    def is_calm(self) -> bool:
        """Tell whether several may be sent at once: of a refusal all that is said matters."""
        return self._weather.is_calm

    def post_all(
        self, url: str, bodies: Sequence[bytes], headers: Sequence[str]
    ) -> list[Answer | SendError]:
        """Send several at once, as `post` would one by one."""
        lines = self._mine.by_url.get(url) or self._lines_to(url)
        return lines.several.post(url, bodies, headers)

    def get(self, url: str, headers: Sequence[str]) -> Answer:
        """Ask; a question may be asked twice, so it is never uncertain."""
        connection = (self._mine.by_url.get(url) or self._lines_to(url)).one
        connection.aim(url, headers, pycurl.HTTPGET)
        return _perform_repeatable(connection)

    def upload(self, url: str, form: Form, headers: Sequence[str]) -> Answer:
        """Send a file in a form; a second copy of it harms nobody, so it is never uncertain."""
        connection = (self._mine.by_url.get(url) or self._lines_to(url)).one
        with pycurl.CurlMime(connection.curl) as mime:
            for name, value in form.fields.items():
                mime.add_field(name, value.encode())
            mime.add_file("file", str(form.path), form.filename.encode(), form.mimetype)
            connection.aim(url, headers, pycurl.MIMEPOST, mime)
            with connection.more_time(form.path.stat().st_size / SLOWEST_UPLOAD):
                return _perform_repeatable(connection)

    def _lines_to(self, url: str) -> _Lines:
        """Return this thread's connections to the provider of a URL."""
        mine, origin = self._mine, "/".join(url.split("/", 3)[:3])
        if origin not in mine.by_origin and len(mine.by_origin) >= MOST_PROVIDERS:
            mine.by_origin.pop(next(iter(mine.by_origin)))
            mine.by_url.clear()
        if len(mine.by_url) >= MOST_URLS:
            mine.by_url.clear()
        if origin not in mine.by_origin:
            common = self._surroundings, self._weather
            one = Connection(*common, guarded=self._guarded)
            mine.by_origin[origin] = _Lines(one, Bundle(*common, guarded=self._guarded))
        mine.by_url[url] = mine.by_origin[origin]
        return mine.by_origin[origin]


class _Lines(NamedTuple):
    """A thread's ways to one provider: for one message, and for several at once."""

    one: Connection
    several: Bundle


class _Connections(threading.local):
    """A thread's connections, the longest known first."""

    def __init__(self) -> None:
        self.by_origin: dict[str, _Lines] = {}
        self.by_url: dict[str, _Lines] = {}


@cache
def client(surroundings: Surroundings) -> Client:
    """Return this process's client; sessions share it, and with it its connections."""
    return Client(surroundings, guarded=not surroundings.private_addresses)


def refusal(answer: Answer, said: str = "") -> SendError:
    """Return what a status means by itself; `said` are the provider's own words, if any.

    A gateway's 500, 502 or 504 tells nothing of what happened behind it (RFC 9110, 15.6).
    """
    reason = said or f"The provider answered with status {answer.status}."
    code = f"http_{answer.status}"
    if answer.accepted or answer.status in {500, 502, 504}:
        return UncertainError(reason, code=code)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return BlockedError(reason, code=code, wait=answer.wait or DEFAULT_HOLD)
    if answer.status in {408, 425, 503} or answer.status > HTTPStatus.GATEWAY_TIMEOUT:
        return RetryableError(reason, code=code, wait=answer.wait)
    if answer.status < HTTPStatus.BAD_REQUEST or answer.status in {401, 402, 403, 404, 405, 407}:
        hint = "" if said else " Check the session's address and credentials."
        return BlockedError(f"{reason}{hint}", code=code)
    return RequestError(reason, code=code)


def _perform_repeatable(connection: Connection) -> Answer:
    try:
        return connection.perform(0)
    except UncertainError as error:
        raise RetryableError(error.reason, code=error.code) from error
