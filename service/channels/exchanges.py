"""The HTTP exchanges of one thread: any number at once, with libcurl and epoll.

`begin` starts an exchange and returns at once. `turn` waits for network events and returns the
exchanges that ended. A connection is reused for the next request to the same provider, and closed
when idle.

libcurl resolves host names in up to 20 threads. If a name server is silent, a name blocks its
thread until the system gives up. So only one exchange at a time resolves a name, and all others to
the same provider wait for it. A dead name then blocks one thread, even if many messages need it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import defaultdict, deque
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import pycurl

from service.channels.answers import Answer, SuccessStreak
from service.channels.base import DriverContext
from service.channels.connections import IDLE_LIMIT, Connection
from service.channels.errors import SendError
from service.channels.steps import Request
from service.channels.transfers import Answering, Lines, Watched

_LONGEST_WAIT: Final = 1.0
"""Maximum seconds of a turn."""

_REAPING: Final = 1.0
"""Seconds between two checks for idle connections."""

_NAME_KEPT: Final = 50.0
"""Seconds for which a host name counts as resolved: libcurl caches its address for 60."""

Ended = list[tuple[Any, Answer | SendError]]
"""Ended exchanges, each with the token that was passed to `begin`."""


class _Asking(NamedTuple):
    """The exchange that resolves a provider's name, and the exchanges that wait for it."""

    asker: Connection
    others: list[Connection]


class Exchanges:
    """The exchanges under way. Other threads may call only `wake`.

    `waited` is how many seconds all turns have spent waiting. A turn that had to wait goes on
    collecting answers for `gathering` seconds: it costs nearly as much for one as for ten.
    """

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._idle: dict[str, deque[Connection]] = defaultdict(deque)
        self._streaks: dict[str, SuccessStreak] = defaultdict(SuccessStreak)
        self._under_way: dict[pycurl.Curl, Connection] = {}
        self._asking: dict[str, _Asking] = {}
        self._known: dict[str, float] = {}
        self._startable: list[Connection] = []
        self._reap_at = 0.0
        self.waited = self.gathering = 0.0
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_turn = threading.Lock()
        self._epoll.register(self._bell, select.EPOLLIN)
        self._lines: Lines = {}
        self._watched = Watched(self._epoll, self._lines)
        self._answering = Answering(self._epoll, self._lines)

    def __len__(self) -> int:
        """Return how many exchanges are under way."""
        return len(self._under_way)

    def begin(self, request: Request, token: Any) -> None:
        """Start an exchange; `turn` returns its end with the token."""
        origin = _origin(request.url)
        idle = self._idle[origin]
        connection = idle.pop() if idle else self._connection(origin)
        try:
            connection.begin(request)
        except Exception:
            connection.close()
            raise
        connection.token = token
        self._under_way[connection.curl] = connection
        if connection.only_waits:
            self._answering.add(connection.curl)
        else:
            self._start(connection)

    def turn(self, longest: float) -> Ended:
        """Wait up to `longest` seconds for network events; return the ended exchanges."""
        self._reap()
        self._note(events := self._epoll.poll(0))
        ended = self._carry_on()
        if not (events or ended or self._startable) and longest > 0:
            self._wait(longest)
            ended = self._carry_on()
        while self._startable:
            self._start(self._startable.pop())
        return ended

    def wake(self) -> None:
        """End the current wait, or the next one."""
        with self._bell_turn:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Close all connections and abort the exchanges under way.

        libcurl waits for its resolver threads, so a separate thread does the closing.
        """
        waiting = {each for asking in self._asking.values() for each in asking.others}
        for connection in self._under_way.values():
            if connection not in waiting:
                transfers = self._answering if connection.only_waits else self._watched
                transfers.remove(connection.curl)
            connection.close()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._under_way.clear()
        self._idle.clear()
        self._answering.close()
        if self._asking:
            threading.Thread(target=self._watched.close, daemon=True).start()
        else:
            self._watched.close()
        self._epoll.close()
        with self._bell_turn:  # another thread may be about to ring it
            os.close(self._bell)
            self._bell = -1

    def _connection(self, origin: str) -> Connection:
        on_open = partial(self._note_open, origin)
        return Connection(self._context, origin, self._streaks[origin], on_open)

    def _start(self, connection: Connection) -> None:
        """Start a watched exchange, or queue it while another one resolves its provider's name."""
        origin = connection.origin
        if connection.may_open and self._known.get(origin, 0.0) < time.monotonic():
            asking = self._asking.setdefault(origin, _Asking(connection, []))
            if asking.asker is not connection:
                asking.others.append(connection)
                return
        self._watched.add(connection.curl)

    def _wait(self, longest: float) -> None:
        longest = min(longest, self._watched.patience(), self._answering.patience(), _LONGEST_WAIT)
        began = time.monotonic()
        events = self._epoll.poll(longest)
        if events and self.gathering:
            time.sleep(self.gathering)
        self.waited += time.monotonic() - began
        self._note(events)
        # Only now: until the bell is read, each poll reports it again.
        self._note(self._epoll.poll(0))

    def _note(self, events: list[tuple[int, int]]) -> None:
        line, ready = self._lines.get, self._answering.ready
        for number, event in events:
            if curl := line(number):
                ready.append(curl)
            elif number == self._bell:
                os.eventfd_read(self._bell)
            else:
                self._watched.note(number, event)

    def _carry_on(self) -> Ended:
        """Let libcurl process ready transfers; return the ended exchanges."""
        ended: Ended = []
        for transfers in (self._answering, self._watched):
            if not transfers:
                continue
            transfers.carry_on()
            good, bad = transfers.ended()
            for curl in good:
                connection = self._under_way.pop(curl)
                if not connection.only_waits:
                    self._answering.watch(curl)
                self._idle[connection.origin].append(connection)
                ended.append((connection.token, connection.answer()))
            for curl, number, words in bad:
                if self._under_way[curl].needs_new():
                    self._start(self._under_way[curl])
                else:
                    ended += self._failed(curl, number, words)
        return ended

    def _failed(self, curl: pycurl.Curl, number: int, words: str) -> Ended:
        """End a failed exchange. If its name did not resolve, end all that waited for the name."""
        connection = self._under_way.pop(curl)
        error = connection.failure(number, words)
        connection.close()
        ended: Ended = [(connection.token, error)]
        asking = self._asking.get(connection.origin)
        if asking and asking.asker is connection:
            for waiting in self._asking.pop(connection.origin).others:
                del self._under_way[waiting.curl]
                waiting.close()
                ended.append((waiting.token, error))
        return ended

    def _note_open(self, origin: str) -> None:
        """Record that a socket opens: its provider's name is resolved."""
        if asking := self._asking.pop(origin, None):
            self._known[origin] = time.monotonic() + _NAME_KEPT
            self._startable += asking.others

    def _reap(self) -> None:
        """Close the connections that have been idle too long."""
        now = time.monotonic()
        if now < self._reap_at:
            return
        self._reap_at = now + _REAPING
        for origin, connections in list(self._idle.items()):
            while connections and connections[0].idle_since < now - IDLE_LIMIT:
                connections.popleft().close()
            if not connections:
                del self._idle[origin]
                self._streaks.pop(origin, None)
                self._known.pop(origin, None)


@lru_cache(1000)
def _origin(url: str) -> str:
    """Return the origin of a URL: its scheme, host and port."""
    return "/".join(url.split("/", 3)[:3])
