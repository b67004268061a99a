"""One connection to one provider, on libcurl. It also decides what a broken exchange means.

libcurl silently repeats a POST if a reused connection breaks before the first byte of the answer.
If the provider had read the first request, the message arrives twice. libcurl also repeats it on
any other free connection. So every handle has one connection, in its own pool, and a request may
use the open connection but not open another. It gets a new connection only if nothing was written
yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import certifi
import pycurl

from service import VERSION
from service.channels.addresses import forbidden, is_public
from service.channels.answers import Answer, SuccessStreak
from service.channels.base import DriverContext
from service.channels.downloads import Download
from service.channels.errors import BlockedError, RetryableError, SendError, UncertainError
from service.channels.sockets import Socket, waits
from service.channels.steps import Form, Method, Request, Sink, construct

USER_AGENT: Final = f"Crier/{VERSION.partition('.dev')[0]}"
"""Meta's description of its API allows three numbers, and no `.dev0`."""

IDLE_LIMIT: Final = 4
"""Seconds for which an idle connection is reused. Node, and so WAHA, closes it after 5 seconds. A
request sent at that moment becomes uncertain."""

SLOWEST_UPLOAD: Final = 100_000
"""Minimum bytes per second of an upload or a download. A slower one is aborted."""

_SMALL: Final = 16_000
"""Bytes of a body that an open connection accepts at once: Linux's smallest send buffer."""

_PROVEN: Final = 16
"""Answers after which the other side is known to keep the connection alive."""

_JUST_NOW: Final = 0.05
"""Seconds after an answer in which no server closes a connection that it keeps alive."""

_MENDABLE: Final = {
    pycurl.E_URL_MALFORMAT: "url",
    pycurl.E_UNSUPPORTED_PROTOCOL: "url",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate",
}
"""Errors that last until somebody corrects the session or the provider's server."""

_OK: Final = 200
_BAD_REQUEST: Final = 400

_OPTIONS: Final = {Method.GET: pycurl.HTTPGET, Method.POST: pycurl.POST}


class Connection:
    """A curl handle and its one socket. Options that all requests share are set once.

    `only_waits`: the request is written at once, so only its answer is left to wait for.
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
        self._response_limit = context.response_limit
        self._timeout = self._patience = context.send_timeout
        self._guarded = not context.private_addresses and not context.proxy
        self._chunks: list[bytes] = []
        self._lines: list[bytes] = []
        self._reads_lines = False
        self._url = ""
        self._headers: Sequence[str] = ()
        self._method: Method | None = None
        self._form: pycurl.CurlMime | None = None
        self._download: Download | None = None
        self._is_plain = True
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
            # Set empty ones too: otherwise libcurl reads http_proxy and no_proxy.
            pycurl.PROXY: context.proxy,
            pycurl.NOPROXY: "",
            pycurl.CAINFO: certifi.where(),
            pycurl.USERAGENT: USER_AGENT,
            pycurl.CONNECTTIMEOUT_MS: int(context.connect_timeout * 1000),
            pycurl.TIMEOUT_MS: int(context.send_timeout * 1000),
            pycurl.MAXFILESIZE: context.response_limit,
            # One connection: libcurl cannot pick up a dead one later.
            pycurl.MAXCONNECTS: 1,
            pycurl.MAXAGE_CONN: IDLE_LIMIT,
            pycurl.WRITEFUNCTION: self._chunks.append,
            pycurl.OPENSOCKETFUNCTION: self._open,
        }

    @property
    def idle_since(self) -> float:
        """The monotonic time of the last answer."""
        return self._answered_at

    def begin(self, request: Request) -> None:
        """Prepare for a request on the open connection, or on a new one."""
        method, url, headers, body, form, self._once, sink = request
        if url is not self._url:
            self.curl.setopt(pycurl.URL, url)
            self._url = url
        if headers is not self._headers:
            self.curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
            self._headers = headers
        if not self._is_plain:
            self._become_plain()
        if method is not self._method:
            self._take_method(method, form)
        if body:
            self.curl.setopt(pycurl.POSTFIELDS, body)
        if sink is not None:
            self._fill(sink)
        if self._reads_lines is self._streak.is_long:
            self._read_lines(on=not self._streak.is_long)
        self._size = len(body)
        self._forbidden = ""
        if self.may_open is self._is_open():
            self._let_open(on=not self.may_open)
        self.only_waits = not self.may_open and self._size <= _SMALL and self._is_plain

    def needs_new(self) -> bool:
        """Prepare for a new connection if the request failed because it had none."""
        wants = self._wanted_to_open and not self.curl.getinfo(pycurl.REQUEST_SIZE)
        if wants:
            self._chunks.clear()
            self._lines.clear()
            self._wanted_to_open = self.only_waits = False
            self._let_open(on=True)
        return wants

    def answer(self) -> Answer:
        """Return the answer."""
        self._answers += 1
        self._answered_at = time.monotonic()
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if status == _OK and self._streak.is_long and not self._lines:
            return construct(Answer, (status, body, 0, ()))
        wait = self.curl.getinfo(pycurl.RETRY_AFTER) if status >= _BAD_REQUEST else 0
        answer = construct(Answer, (status, body, wait, tuple(self._lines)))
        self._lines.clear()
        self._streak.answered(accepted=answer.accepted)
        return answer

    def failure(self, number: int, words: str) -> SendError:
        """Return the error of a request for an error of libcurl."""
        self._streak.broken()
        late = self._late() if number == pycurl.E_OPERATION_TIMEDOUT else ""
        was_sent = self._once and self._was_sent()
        self._answers = 0
        self._answered_at = time.monotonic()
        if self._download and (problem := self._download.problem(number)):
            return problem
        if was_sent:
            reason = f"{late or 'The answer was incomplete'}: {words}."
            return UncertainError(reason, code="no_answer")
        if self._forbidden:
            return forbidden(self._forbidden)
        if number in _MENDABLE:
            return BlockedError(f"The provider cannot be called: {words}.", code=_MENDABLE[number])
        reason = f"{late or 'The provider could not be reached'}: {words}."
        return RetryableError(reason, code="unreachable")

    def close(self) -> None:
        """Close the socket. The pool must close before the handle whose connection it holds."""
        self.curl.unsetopt(pycurl.SHARE)
        self._share.close()
        self.curl.close()

    def _let_open(self, *, on: bool) -> None:
        self.may_open = on
        self.curl.setopt(pycurl.FRESH_CONNECT, int(on))

    def _take_method(self, method: Method, form: Form | None) -> None:
        self._method = method
        if form is None:
            self.curl.setopt(_OPTIONS[method], 1)
        else:
            self._take_form(form)

    def _become_plain(self) -> None:
        """Drop the form or the sink of the last request."""
        self._is_plain = True
        if self._form is not None:
            self._form.close()
            self._form = self._method = None
        if self._download is not None:
            self._leave_sink()
        self._wait_for(self._timeout)

    def _take_form(self, form: Form) -> None:
        self._is_plain = False
        mime = self._form = pycurl.CurlMime(self.curl)
        for name, value in form.fields.items():
            mime.add_field(name, value.encode())
        mime.add_file("file", str(form.path), form.filename.encode(), form.mimetype)
        self.curl.setopt(pycurl.MIMEPOST, mime)
        self._wait_for(self._timeout + form.path.stat().st_size / SLOWEST_UPLOAD)

    def _fill(self, sink: Sink) -> None:
        """Let the answer's body go into a sink; end a download that is too large or too slow."""
        self._is_plain = False
        self._download = Download(sink)
        for option, value in self._download.options(self._timeout).items():
            self.curl.setopt(option, value)
        self._wait_for(self._timeout + sink.most / SLOWEST_UPLOAD)

    def _leave_sink(self) -> None:
        self._download = None
        self.curl.setopt(pycurl.WRITEFUNCTION, self._chunks.append)
        self.curl.setopt(pycurl.MAXFILESIZE, self._response_limit)
        self.curl.setopt(pycurl.LOW_SPEED_LIMIT, 0)

    def _wait_for(self, seconds: float) -> None:
        self._patience = round(seconds, 1)
        self.curl.setopt(pycurl.TIMEOUT_MS, int(seconds * 1000))

    def _read_lines(self, *, on: bool) -> None:
        self._reads_lines = on
        if on:
            self.curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        else:
            self.curl.unsetopt(pycurl.HEADERFUNCTION)

    def _open(self, _purpose: int, name: pycurl.CurlSockAddr) -> Socket | int:
        """Return a socket, or refuse to connect."""
        if not self.may_open:
            self._wanted_to_open = True
            return pycurl.SOCKET_BAD
        if self._guarded and not is_public(str(name.addr[0])):
            self._forbidden = str(name.addr[0])
            return pycurl.SOCKET_BAD
        self._answers = 0
        self._forbidden = ""  # of several addresses, one is allowed
        self._on_open()
        return Socket(name)

    def _is_open(self) -> bool:
        """Return whether the other side waits for a request; curl itself checks once a second.

        The check costs three system calls. It is skipped if the last answer just arrived and the
        connection is known to be kept alive.
        """
        if self._answers >= _PROVEN and time.monotonic() - self._answered_at < _JUST_NOW:
            return True
        number = self.curl.getinfo(pycurl.ACTIVESOCKET) if self._answers else -1
        return number >= 0 and waits(number)

    def _late(self) -> str:
        """Return the text of a time-out. The limit is shorter if no connection was made."""
        has_begun = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
        seconds = self._patience if has_begun else min(self._connect_timeout, self._patience)
        return f"The provider did not answer within {seconds:g} seconds"

    def _was_sent(self) -> bool:
        """Return whether the last byte left: a provider cannot act on an incomplete request.

        If curl tried to start over, it no longer knows how much of the body it had sent.
        """
        written: int = self.curl.getinfo(pycurl.REQUEST_SIZE)
        of_body: int = self.curl.getinfo(pycurl.SIZE_UPLOAD_T)
        return written > 0 and (written if self._wanted_to_open else of_body) >= self._size
