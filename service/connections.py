"""The connections of gunicorn's clients: a thread waits for each of them, but never for ever."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from errno import EPIPE
from os import SEEK_END
from select import POLLIN, POLLOUT, poll
from socket import MSG_DONTWAIT, socket
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

PIECE: Final = 64 * 1024


class WaitLimits(NamedTuple):
    """How many seconds a thread waits for a client, and how many more while the process stops."""

    silence: float
    """For the next byte."""
    total: float
    """In all, besides one more for each `SLOWEST` bytes that have come or gone."""
    at_stop: float


RECEIVING = WaitLimits(silence=30.0, total=60.0, at_stop=1.0)
SENDING = WaitLimits(silence=120.0, total=120.0, at_stop=5.0)
"""The kernel takes an answer in large pieces, so there may be a long time between two."""

SLOWEST: Final = 4096
"""Bytes a second at which a request may come for any time: a slow line has that."""

INVITED = 3.0
"""Seconds for a body whose client sends it when it is asked to, by `100 Continue`."""

_NO_TIME: Final = 0.001
"""Seconds for the rest of a body that nobody wants, if it is there already."""

_TICK: Final = 0.25
"""Seconds after which a waiting thread looks whether the process stops."""

LONG: Final = 100_000
"""Bytes of a body that threads read. A shorter one is kept until it is complete."""

_SHORT: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,5})[ \t]*\r\n", re.IGNORECASE)
"""The length of a body that is shorter than `LONG`."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class GivenUpError(errors.ParseException):  # type: ignore[misc] # gunicorn is not annotated
    """A request has begun, and its rest is not waited for any more."""

    status = 408
    sentence = (
        f"The rest of the request did not come in time: not a byte for {RECEIVING.silence:.0f}"
        f" seconds, or less than {SLOWEST:,} bytes a second."
    )
    headers: Mapping[str, str] = MappingProxyType({})


class StoppingError(GivenUpError):
    """The process stops before a request has come."""

    status = 503
    sentence = "The service is stopping and has not got all of the request. Send it again."
    headers = MappingProxyType({"Retry-After": "1"})


class HostError(errors.ParseException):  # type: ignore[misc]
    """A request of HTTP/1.1 names no host, which RFC 9112 forbids in section 3.2."""

    sentence = "A request of HTTP/1.1 needs the header `Host`."


class Connection(socket):
    """A client's connection. A blocking call ends when the client takes too long."""

    def __init__(self, fileno: int, is_stopping: Callable[[], bool]) -> None:
        super().__init__(fileno=fileno)
        self._is_stopping = is_stopping
        self.begin()

    def begin(self) -> None:
        """Have the whole time for the next request."""
        self._receiving, self._sending = WaitMeter(RECEIVING), WaitMeter(SENDING)
        self.awaits_invitation = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has come; raises GivenUpError."""
        if self.gettimeout() is not None:
            return super().recv(size, flags)
        while True:
            with suppress(BlockingIOError):
                piece = super().recv(size, flags | MSG_DONTWAIT)
                if not self._is_stopping():
                    self._receiving.earn(len(piece))
                return piece
            if not self._wait(POLLIN, self._receiving, self._invite() or RECEIVING.silence):
                raise StoppingError if self._is_stopping() else GivenUpError

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of something; raises BrokenPipeError if the client does not read."""
        if self.gettimeout() is not None:
            return super().sendall(data, flags)
        left = memoryview(data).cast("B")
        while left:
            try:
                sent = self.send(left, flags | MSG_DONTWAIT)
            except BlockingIOError:
                if not self._wait(POLLOUT, self._sending, SENDING.silence):
                    raise BrokenPipeError(EPIPE, "The client reads no answer.") from None
            else:
                self._sending.earn(sent)
                left = left[sent:]
        return None

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a part of a file as `sendall` would."""
        file.seek(offset)
        sent = 0
        while piece := file.read(PIECE if count is None else min(PIECE, count - sent)):
            self.sendall(piece)
            sent += len(piece)
        return sent

    def _invite(self) -> float:
        """Ask for a body that is only sent on demand; return how long to wait for it."""
        if not self.awaits_invitation:
            return 0.0
        self.awaits_invitation = False
        self.sendall(_CONTINUE)
        return INVITED

    def _wait(self, event: int, meter: WaitMeter, silence: float) -> bool:
        """Wait until something can be read or written; return whether it can, in good time."""
        waiter = poll()
        waiter.register(self, event)
        now = time.monotonic()
        until = now + silence
        while (left := min(until - now, meter.left(is_stopping=self._is_stopping()))) > 0:
            is_ready = waiter.poll(1000 * min(left, _TICK))
            meter.spend(-now + (now := time.monotonic()))
            if is_ready:
                return True
        return False


class WaitMeter:
    """The seconds that a thread still waits for a client in all."""

    def __init__(self, limits: WaitLimits) -> None:
        self._limits, self._left = limits, limits.total

    def left(self, *, is_stopping: bool) -> float:
        """Return what is left, which is less from the moment on that the process stops."""
        if is_stopping:
            self._left = min(self._left, self._limits.at_stop)
        return self._left

    def spend(self, seconds: float) -> None:
        """Note how long a thread has waited."""
        self._left -= seconds

    def earn(self, size: int) -> None:
        """Note how many bytes have come or gone."""
        self._left = min(self._limits.total, self._left + size / SLOWEST)


class _Message(Request):  # type: ignore[misc]
    """The head of a request."""

    finish: Callable[[], bool] = bool

    _is_over: bool | None = None
    """Whether nothing of its body is on its way, known when it is answered."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.version >= (1, 1) and all(name != "HOST" for name, _ in self.headers):
            raise HostError

    def should_close(self) -> bool:
        """Return whether an answer to this request is the last one of its connection.

        It is if the body is still on its way: where the next request begins is unknown.
        """
        if self._is_over is None:
            self._is_over = self.finish()
        return bool(super().should_close() or not self._is_over)


class Parser(RequestParser):  # type: ignore[misc]
    """Reads one request after another from a connection."""

    mesg_class = _Message

    _since = 0.0
    """When a request began that has not come yet, by the monotonic clock."""
    _is_closed = False

    @property
    def is_waiting(self) -> bool:
        """Whether a part of a request has come, and nobody reads it yet."""
        return bool(self._since)

    def gather(self) -> None:
        """Take what has come of a request, while no thread waits for it."""
        try:
            piece = self.unreader.sock.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._is_closed = not piece
        self.unreader.buf.seek(0, SEEK_END)
        self.unreader.buf.write(piece)

    def is_ready(self) -> bool:
        """Return whether a thread can read a request without waiting, or has to read it."""
        return self._is_closed or _is_for_thread(self.unreader.buf.getvalue())

    def deadline(self) -> float:
        """Return until when the rest of a request may come, by the monotonic clock."""
        now = time.monotonic()
        self._since = self._since or now
        return min(now + RECEIVING.silence, self._since + RECEIVING.total)

    def __next__(self) -> _Message:
        """Return the next request. gunicorn's own sends `100 Continue` to all that ask for it."""
        connection: Connection = self.unreader.sock
        connection.begin()
        self._since = 0.0
        message: _Message = super().__next__()
        message.finish = self._is_body_over
        connection.awaits_invitation = message._expected_100_continue  # noqa: SLF001
        message._expected_100_continue = False  # noqa: SLF001
        return message

    def _is_body_over(self) -> bool:
        """Discard what nobody wants of a body, if it is there; return whether this was its end."""
        with suppress(errors.ParseException, OSError):
            return bool(self.finish_body(deadline=time.monotonic() + _NO_TIME))
        return False


def _is_for_thread(begun: bytes) -> bool:
    """Return whether a request has come, or enough of one that is too long to be kept.

    Whether it is valid is for its parser to say.
    """
    head, end, body = begun.partition(b"\r\n\r\n")
    if not end:
        return len(begun) > PIECE or head.count(b"\n") != head.count(b"\r\n")
    length = _SHORT.search(head + b"\r\n")
    return not length or len(body) >= int(length[1]) or b"\r\nexpect:" in head.lower()
