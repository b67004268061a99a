"""One connection to one provider, on libcurl; what a broken exchange means is decided here.

libcurl sends a POST a second time, by itself and silently, when a connection that it used before
breaks before the first byte of the answer: twice the same message if the provider had read it. It
also repeats it on any other free connection that it finds. So every handle has one connection, in
a pool of its own, and a request may use the open connection but not open one. Only where nothing
was written yet is it given a new connection.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import certifi
import pycurl

from service import VERSION
from service.channels.addresses import forbidden, is_public
from service.channels.answers import Answer, SuccessStreak
from service.channels.base import (
    BlockedError,
    DriverContext,
    RetryableError,
    SendError,
    UncertainError,
)
from service.channels.steps import Form, Method, Request, construct

USER_AGENT: Final = f"Crier/{VERSION}"

IDLE_LIMIT: Final = 4
"""Seconds for which an idle connection is used again: Node, and with it WAHA, closes at 5, and a
request that meets the closing is uncertain."""

SLOWEST_UPLOAD: Final = 100_000
"""Bytes per second below which an upload is given up."""

_SMALL: Final = 16_000
"""Bytes of a body that an open connection takes at once: the least that Linux keeps for it."""

_PROVEN: Final = 16
"""Answers after which a connection is known to be kept alive by the other side."""

_JUST_NOW: Final = 0.05
"""Seconds after an answer in which nobody closes a connection that is kept alive."""

_MENDABLE: Final = {
    pycurl.E_URL_MALFORMAT: "url",
    pycurl.E_UNSUPPORTED_PROTOCOL: "url",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate",
}
"""What stays wrong until somebody mends the session or the provider's server."""

_BAD_REQUEST: Final = 400

_OPTIONS: Final = {Method.GET: pycurl.HTTPGET, Method.POST: pycurl.POST}


class Connection:
    """A curl handle with what all requests share set once, and the one socket that it uses.

    `only_waits`: the request goes out at once, and its answer is all that is left.
    """

    def __init__(
        self,
        context: DriverContext,
        origin: str,
        streak: SuccessStreak,
        on_open: Callable[[], None],
    ) -> None:
        self.curl = pycurl.Curl()
        self.origin = origin
        self.token: Any = None
        self._share = pycurl.CurlShare()
        self._streak = streak
        self._on_open = on_open
        self._connect_timeout = context.connect_timeout
        self._timeout = self._patience = context.send_timeout
        self._guarded = not context.private_addresses and not context.proxy
        self._chunks: list[bytes] = []
        self._lines: list[bytes] = []
        self._reads_lines = False
        self._url = ""
        self._headers: Sequence[str] = ()
        self._method: Method | None = None
        self._form: pycurl.CurlMime | None = None
        self._once = False
        self._size = 0
        self._answers = 0
        self._answered_at = 0.0
        self.may_open = self.only_waits = self._wanted_to_open = False
        self._forbidden = ""
        self._share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_CONNECT)
        for option, value in self._options(context).items():
            self.curl.setopt(option, value)

    def _options(self, context: DriverContext) -> dict[int, Any]:
        return {
            pycurl.SHARE: self._share,
            pycurl.NOSIGNAL: 1,
            pycurl.TCP_NODELAY: 1,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            # Even empty ones: or else libcurl reads http_proxy and no_proxy.
            pycurl.PROXY: context.proxy,
            pycurl.NOPROXY: "",
            pycurl.CAINFO: certifi.where(),
            pycurl.USERAGENT: USER_AGENT,
            pycurl.CONNECTTIMEOUT_MS: int(context.connect_timeout * 1000),
            pycurl.TIMEOUT_MS: int(context.send_timeout * 1000),
            pycurl.MAXFILESIZE: context.response_limit,
            # One connection: a dead one is not left behind to be found again.
            pycurl.MAXCONNECTS: 1,
            pycurl.MAXAGE_CONN: IDLE_LIMIT,
            pycurl.WRITEFUNCTION: self._chunks.append,
            pycurl.OPENSOCKETFUNCTION: self._open,
        }

    @property
    def idle_since(self) -> float:
        """When the last answer came, by the monotonic clock."""
        return self._answered_at

    def begin(self, request: Request) -> None:
        """Make ready for a request: on the connection that is open, or on a new one."""
        if request.url is not self._url:
            self.curl.setopt(pycurl.URL, request.url)
            self._url = request.url
        if request.headers is not self._headers:
            self.curl.setopt(pycurl.HTTPHEADER, [*request.headers, "Expect:"])
            self._headers = request.headers
        if request.form:
            self._take_form(request.form)
        elif request.method is not self._method:
            self.curl.setopt(_OPTIONS[request.method], 1)
        self._method, self._once, self._size = request.method, request.once, len(request.body)
        if request.body:
            self.curl.setopt(pycurl.POSTFIELDS, request.body)
        if self._reads_lines is self._streak.is_long:
            self._read_lines(on=not self._streak.is_long)
        self._start(anew=not self._is_open())

    def needs_new(self) -> bool:
        """Make ready for a new connection, if the request failed for the lack of one."""
        wants = self._wanted_to_open and not self.curl.getinfo(pycurl.REQUEST_SIZE)
        if wants:
            self._start(anew=True)
        return wants

    def answer(self) -> Answer:
        """Return what came back."""
        self._answers += 1
        self._answered_at = time.monotonic()
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        wait = self.curl.getinfo(pycurl.RETRY_AFTER) if status >= _BAD_REQUEST else 0
        answer = construct(Answer, (status, body, wait, tuple(self._lines)))
        self._streak.answered(accepted=answer.accepted)
        self._drop_form()
        return answer

    def failure(self, number: int, words: str) -> SendError:
        """Return what libcurl's error means for the request."""
        self._streak.broken()
        late = self._late() if number == pycurl.E_OPERATION_TIMEDOUT else ""
        was_sent = self._once and self._was_sent()
        self._answers = 0
        self._answered_at = time.monotonic()
        self._drop_form()
        if was_sent:
            reason = f"{late or 'No answer came whole'}: {words}."
            return UncertainError(reason, code="no_answer")
        if self._forbidden:
            return forbidden(self._forbidden)
        if number in _MENDABLE:
            return BlockedError(f"The provider cannot be called: {words}.", code=_MENDABLE[number])
        reason = f"{late or 'The provider was not reached'}: {words}."
        return RetryableError(reason, code="unreachable")

    def close(self) -> None:
        """Close the socket; the pool must go before the handle whose connection it holds."""
        self.curl.unsetopt(pycurl.SHARE)
        self._share.close()
        self.curl.close()

    def _start(self, *, anew: bool) -> None:
        self._chunks.clear()
        if self._lines:
            self._lines.clear()
        self._wanted_to_open = False
        self._forbidden = ""
        if anew is not self.may_open:
            self.may_open = anew
            self.curl.setopt(pycurl.FRESH_CONNECT, int(anew))
        self.only_waits = not anew and self._size <= _SMALL and self._form is None

    def _take_form(self, form: Form) -> None:
        mime = self._form = pycurl.CurlMime(self.curl)
        for name, value in form.fields.items():
            mime.add_field(name, value.encode())
        mime.add_file("file", str(form.path), form.filename.encode(), form.mimetype)
        self.curl.setopt(pycurl.MIMEPOST, mime)
        self._wait_for(self._timeout + form.path.stat().st_size / SLOWEST_UPLOAD)

    def _drop_form(self) -> None:
        if self._form is not None:
            self._form.close()
            self._form = self._method = None
            self._wait_for(self._timeout)

    def _wait_for(self, seconds: float) -> None:
        self._patience = round(seconds, 1)
        self.curl.setopt(pycurl.TIMEOUT_MS, int(seconds * 1000))

    def _read_lines(self, *, on: bool) -> None:
        self._reads_lines = on
        if on:
            self.curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        else:
            self.curl.unsetopt(pycurl.HEADERFUNCTION)

    def _open(self, _purpose: int, name: pycurl.CurlSockAddr) -> _Socket | int:
        """Return a socket, or refuse to connect."""
        if not self.may_open:
            self._wanted_to_open = True
            return pycurl.SOCKET_BAD
        if self._guarded and not is_public(str(name.addr[0])):
            self._forbidden = str(name.addr[0])
            return pycurl.SOCKET_BAD
        self._answers = 0
        self._on_open()
        return _Socket(name)

    def _is_open(self) -> bool:
        """Tell whether the other side waits for a request; curl itself looks once a second.

        The look costs three system calls. It is left out where the last answer came just now by a
        connection that is known to be kept alive.
        """
        if self._answers >= _PROVEN and time.monotonic() - self._answered_at < _JUST_NOW:
            return True
        number = self.curl.getinfo(pycurl.ACTIVESOCKET) if self._answers else -1
        return number >= 0 and _waits(number)

    def _late(self) -> str:
        """Say for how long the provider was waited for: for less where no connection came about."""
        has_begun = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
        seconds = self._patience if has_begun else min(self._connect_timeout, self._patience)
        return f"The provider did not answer within {seconds:g} seconds"

    def _was_sent(self) -> bool:
        """Tell whether the last byte left; of less than the whole nobody can act.

        When curl wanted to begin again it has forgotten how much of the body went out before.
        """
        written: int = self.curl.getinfo(pycurl.REQUEST_SIZE)
        of_body: int = self.curl.getinfo(pycurl.SIZE_UPLOAD_T)
        return written > 0 and (written if self._wanted_to_open else of_body) >= self._size


class _Socket:
    """A socket of which libcurl takes a duplicate; the original is closed when it is let go."""

    def __init__(self, name: pycurl.CurlSockAddr) -> None:
        self._number = socket.socket(name.family, name.socktype, name.protocol).detach()

    def fileno(self) -> int:
        return self._number

    def __del__(self) -> None:
        os.close(self._number)


def _waits(number: int) -> bool:
    """Tell whether a socket is connected and silent: what came unasked is no request's answer."""
    looked_at = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=number)
    try:
        return _is_established(looked_at) and _is_silent(looked_at)
    finally:
        looked_at.detach()  # it is libcurl's


def _is_silent(looked_at: socket.socket) -> bool:
    try:
        looked_at.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_established(looked_at: socket.socket) -> bool:
    """Ask the kernel: the first byte of Linux's `struct tcp_info` is the state, 1 is that."""
    try:
        return looked_at.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"
    except OSError:
        return False
