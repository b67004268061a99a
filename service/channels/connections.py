"""One thread's connection to one provider, on libcurl; what a broken exchange means is told here.

libcurl sends a POST a second time, by itself and silently, when a connection that it used before
breaks before the first byte of the answer: twice the same message if the provider had read it. So
a request may use an open connection but not open one. Only where nothing was written yet is it
given a new connection, and that one to itself.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import certifi
import pycurl

from service import VERSION
from service.channels.addresses import is_public
from service.channels.answers import Answer, Weather
from service.channels.base import (
    BlockedError,
    RetryableError,
    SendError,
    Surroundings,
    UncertainError,
)

USER_AGENT: Final = f"Crier/{VERSION}"

IDLE_LIMIT: Final = 4
"""Seconds for which an idle connection is used again: Node, and with it WAHA, closes at 5, and a
request that meets the closing is uncertain."""

_PROVEN: Final = 16
"""Answers after which a connection is known to be kept alive by the other side."""

_JUST_NOW: Final = 0.005
"""Seconds after an answer in which nobody closes a connection that is kept alive."""

_MENDABLE: Final = {
    pycurl.E_URL_MALFORMAT: "url",
    pycurl.E_UNSUPPORTED_PROTOCOL: "url",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate",
}
"""What stays wrong until somebody mends the session or the provider's server."""


class Connection:
    """A curl handle with what all requests share set once, and the one socket that it uses."""

    def __init__(self, surroundings: Surroundings, weather: Weather, *, guarded: bool) -> None:
        self.curl = pycurl.Curl()
        self._weather = weather
        self._connect_timeout = surroundings.connect_timeout
        self._timeout = self._patience = surroundings.send_timeout
        self._guarded = guarded
        self._chunks: list[bytes] = []
        self._lines: list[bytes] = []
        self._listens = False
        self._url = ""
        self._headers: Sequence[str] = ()
        self._method = 0
        self._socket: _Socket | None = None
        self._may_open = self._wanted_to_open = False
        self._forbidden = ""
        for option, value in self._options(surroundings).items():
            self.curl.setopt(option, value)

    def _options(self, surroundings: Surroundings) -> dict[int, Any]:
        return {
            pycurl.NOSIGNAL: 1,
            pycurl.TCP_NODELAY: 1,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            # Even empty ones: or else libcurl reads http_proxy and no_proxy.
            pycurl.PROXY: surroundings.proxy,
            pycurl.NOPROXY: "",
            pycurl.CAINFO: certifi.where(),
            pycurl.USERAGENT: USER_AGENT,
            pycurl.CONNECTTIMEOUT_MS: int(surroundings.connect_timeout * 1000),
            pycurl.TIMEOUT_MS: int(surroundings.send_timeout * 1000),
            pycurl.MAXFILESIZE: surroundings.response_limit,
            # One connection: a dead one is not left behind to be found again.
            pycurl.MAXCONNECTS: 1,
            pycurl.MAXAGE_CONN: IDLE_LIMIT,
            pycurl.WRITEFUNCTION: self._chunks.append,
            pycurl.OPENSOCKETFUNCTION: self._open,
        }

    def aim(self, url: str, headers: Sequence[str], method: int, value: object = 1) -> None:
        """Set what differs from the request before."""
        if url is not self._url:
            self.curl.setopt(pycurl.URL, url)
            self._url = url
        if headers is not self._headers:
            self.curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
            self._headers = headers
        if method != self._method or value != 1:
            self.curl.setopt(method, value)
            self._method = method

    @contextmanager
    def more_time(self, seconds: float) -> Iterator[None]:
        """Let a request take longer than others."""
        self._wait_for(self._timeout + seconds)
        try:
            yield
        finally:
            self._wait_for(self._timeout)

    def _wait_for(self, seconds: float) -> None:
        self._patience = round(seconds, 1)
        self.curl.setopt(pycurl.TIMEOUT_MS, int(seconds * 1000))

    def perform(self, size: int) -> Answer:
        """Carry out the request, whose body has `size` bytes; raises SendError."""
        self._listen(on=not self._weather.is_calm)
        try:
            self._exchange()
        except pycurl.error as error:
            number, words = error.args if len(error.args) > 1 else (0, str(error))
            raise self.failure(number, words, size) from error
        return self.answer()

    def _listen(self, *, on: bool) -> None:
        """Read header lines from now on, or let them pass."""
        if on is not self._listens:
            self._listens = on
            if on:
                self.curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
            else:
                self.curl.unsetopt(pycurl.HEADERFUNCTION)

    def _exchange(self) -> None:
        self.begin()
        try:
            self.curl.perform()
        except pycurl.error:
            if not self.needs_new():
                raise
            self.begin(anew=True)
            self.curl.perform()

    def begin(self, *, anew: bool = False) -> None:
        """Make ready for a request: on the connection that is open, or on a new one."""
        self._chunks.clear()
        self._lines.clear()
        self._wanted_to_open = False
        self._forbidden = ""
        anew = anew or self._socket is None or not self._socket.is_open()
        if anew is not self._may_open:
            self._may_open = anew
            self.curl.setopt(pycurl.FRESH_CONNECT, int(anew))

    def needs_new(self) -> bool:
        """Tell of a request that failed whether it may go out on a new connection."""
        return self._wanted_to_open and not self.curl.getinfo(pycurl.REQUEST_SIZE)

    def answer(self) -> Answer:
        """Return what came back."""
        if self._socket is not None:
            self._socket.answered()
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        wait = self.curl.getinfo(pycurl.RETRY_AFTER) if status >= HTTPStatus.BAD_REQUEST else 0
        answer = Answer(status, body, wait, tuple(self._lines))
        self._weather.answered(accepted=answer.accepted)
        return answer

    def failure(self, number: int, words: str, size: int) -> SendError:
        """Return what libcurl's error means for a request whose body has `size` bytes."""
        self._socket = None
        self._weather.worsened()
        late = self._late() if number == pycurl.E_OPERATION_TIMEDOUT else ""
        if self._was_sent(size):
            reason = f"{late or 'No answer came whole'}: {words}."
            return UncertainError(reason, code="no_answer")
        if self._forbidden:
            reason = (
                f"{self._forbidden} is not a public address; it is called only where the operator"
                " sets PRIVATE_ADDRESSES=true."
            )
            return BlockedError(reason, code="address")
        if number in _MENDABLE:
            return BlockedError(f"The provider cannot be called: {words}.", code=_MENDABLE[number])
        reason = f"{late or 'The provider was not reached'}: {words}."
        return RetryableError(reason, code="unreachable")

    def _open(self, _purpose: int, name: pycurl.CurlSockAddr) -> _Socket | int:
        if not self._may_open:
            self._wanted_to_open = True
            return pycurl.SOCKET_BAD
        if self._guarded and not is_public(str(name.addr[0])):
            self._forbidden = str(name.addr[0])
            return pycurl.SOCKET_BAD
        self._socket = _Socket(name)
        return self._socket

    def _late(self) -> str:
        """Say for how long the provider was waited for: for less where no connection came about."""
        has_begun = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
        seconds = self._patience if has_begun else min(self._connect_timeout, self._patience)
        return f"The provider did not answer within {seconds:g} seconds"

    def _was_sent(self, size: int) -> bool:
        """Tell whether the last byte left; of less than the whole nobody can act.

        When curl wanted to begin again it has forgotten how much of the body went out before.
        """
        written: int = self.curl.getinfo(pycurl.REQUEST_SIZE)
        of_body: int = self.curl.getinfo(pycurl.SIZE_UPLOAD_T)
        return written > 0 and (written if self._wanted_to_open else of_body) >= size


class _Socket:
    """A socket that libcurl uses by a duplicate, so that we can look at it beforehand."""

    def __init__(self, name: pycurl.CurlSockAddr) -> None:
        self._socket = socket.socket(name.family, name.socktype, name.protocol)
        self._answers = 0
        self._answered_at = 0.0

    def fileno(self) -> int:
        return self._socket.fileno()

    def answered(self) -> None:
        """Take note of an answer that came."""
        self._answers += 1
        self._answered_at = time.monotonic()

    def is_open(self) -> bool:
        """Tell whether the other side waits for a request; curl itself looks once a second.

        The look took a fifth of the time in which Python ran (docs/profile.md). It is left out
        where the last answer came just now by a connection that is known to be kept alive.
        """
        if self._answers >= _PROVEN and time.monotonic() - self._answered_at < _JUST_NOW:
            return True
        return self._is_established() and self._is_silent()

    def _is_silent(self) -> bool:
        """Tell whether nothing came unasked: it would be taken for the next request's answer."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _is_established(self) -> bool:
        """Ask the kernel: the first byte of Linux's `struct tcp_info` is the state, 1 is that."""
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"

    def __del__(self) -> None:
        self._socket.close()
