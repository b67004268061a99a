"""HTTP exchanges of one thread: any number under way, carried by libcurl and watched by epoll.

`begin` starts an exchange and returns at once; `turn` waits until something moves and returns what
has ended. Connections are kept for the next request to the same provider and closed when idle.

libcurl resolves host names in up to 20 threads. A name whose server is silent keeps a thread busy
for as long as the system waits for it. So one exchange at a time asks for a name, and all others to
the same provider wait for it: one dead name takes one thread, however many messages it has.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import defaultdict, deque
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import pycurl

from service.channels.answers import Answer, SuccessStreak
from service.channels.base import DriverContext, SendError
from service.channels.connections import IDLE_LIMIT, Connection
from service.channels.steps import Request

_LONGEST_WAIT: Final = 1.0
"""Seconds after which a turn ends in any case."""

_MANY: Final = 64
_GATHERING: Final = 0.002
"""Seconds for which more answers are awaited where many are under way and all have been waited
for: a turn costs nearly as much for one as for ten."""

_REAPING: Final = 1.0
"""Seconds between two looks for idle connections."""

_NAME_KEPT: Final = 50.0
"""Seconds for which a host name counts as known: libcurl remembers its address for 60."""

_READY: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}

_OUT: Final = select.EPOLLOUT

Ended = list[tuple[Any, Answer | SendError]]
"""Exchanges that are over, each with the token it was begun with."""


class _UnderWay(NamedTuple):
    connection: Connection
    origin: str
    token: Any


class _Asking(NamedTuple):
    """The exchange that has a provider's name resolved, and those that wait for it."""

    asker: pycurl.Curl
    others: list[pycurl.Curl]


class Exchanges:
    """The exchanges under way; `wake` alone may be called by other threads.

    `waited` is how many seconds were spent waiting, of all turns.
    """

    def __init__(self, surroundings: DriverContext) -> None:
        self._surroundings = surroundings
        self._idle: dict[str, deque[Connection]] = defaultdict(deque)
        self._streaks: dict[str, SuccessStreak] = defaultdict(SuccessStreak)
        self._under_way: dict[pycurl.Curl, _UnderWay] = {}
        self._asking: dict[str, _Asking] = {}
        self._known: dict[str, float] = {}
        self._startable: list[pycurl.Curl] = []
        self._wanted: dict[int, int] = {}
        self._watched: dict[int, int] = {}
        self._has_opened = False
        self._reap_at = 0.0
        self.waited = 0.0
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_turn = threading.Lock()
        self._epoll.register(self._bell, select.EPOLLIN)
        self._multi = pycurl.CurlMulti()
        # Of each pool; that of a handle's own MAXCONNECTS is not looked at here.
        self._multi.setopt(pycurl.M_MAXCONNECTS, 1)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)

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
        self._under_way[connection.curl] = _UnderWay(connection, origin, token)
        self._start(connection.curl)

    def turn(self, longest: float) -> Ended:
        """Wait up to so many seconds until something moves; return what has ended."""
        self._has_opened = False
        self._reap()
        wait = self._multi.timeout() / 1000
        if wait == 0:
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if ended := self._ended():
            longest = 0.0
        elif wait > 0:
            longest = min(longest, wait)
        for number, event in self._epoll.poll(0) or self._wait(longest):
            self._act(number, event)
        ended += self._ended()
        while self._startable:
            self._start(self._startable.pop())
        return ended

    def wake(self) -> None:
        """End the turn that waits, or the next one."""
        with self._bell_turn:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Close all connections; what is under way is broken off."""
        waiting = {curl for each in self._asking.values() for curl in each.others}
        for curl, each in self._under_way.items():
            if curl not in waiting:
                self._multi.remove_handle(curl)
            each.connection.close()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._under_way.clear()
        self._idle.clear()
        self._multi.close()
        self._epoll.close()
        with self._bell_turn:  # another thread may be about to ring it
            os.close(self._bell)
            self._bell = -1

    def _connection(self, origin: str) -> Connection:
        on_open = partial(self._note_open, origin)
        return Connection(self._surroundings, self._streaks[origin], on_open)

    def _start(self, curl: pycurl.Curl) -> None:
        """Let an exchange go, or wait while another one has the provider's name resolved."""
        connection, origin, _ = self._under_way[curl]
        if connection.may_open and self._known.get(origin, 0.0) < time.monotonic():
            asking = self._asking.setdefault(origin, _Asking(curl, []))
            if asking.asker is not curl:
                asking.others.append(curl)
                return
        self._multi.add_handle(curl)

    def _wait(self, longest: float) -> list[tuple[int, int]]:
        if longest <= 0:
            return []
        began = time.monotonic()
        events = self._epoll.poll(min(longest, _LONGEST_WAIT))
        if events and len(self._under_way) > _MANY:
            time.sleep(_GATHERING)
            events = self._epoll.poll(0)
        self.waited += time.monotonic() - began
        return events

    def _act(self, number: int, event: int) -> None:
        if number == self._bell:
            os.eventfd_read(self._bell)
        elif number in self._wanted:
            ready = pycurl.CSELECT_OUT if event & _OUT else 0
            # A hang-up or an error is read like an answer.
            ready |= pycurl.CSELECT_IN if event & ~_OUT else 0
            self._multi.socket_action(number, ready)
        else:  # the other side closed an idle connection, or said something unasked
            self._watched.pop(number, None)
            with suppress(OSError):
                self._epoll.unregister(number)

    def _ended(self) -> Ended:
        ended: Ended = []
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            for curl in good:
                self._multi.remove_handle(curl)
                connection, origin, token = self._under_way.pop(curl)
                ended.append((token, connection.answer()))
                self._idle[origin].append(connection)
            for curl, number, words in bad:
                self._multi.remove_handle(curl)
                if self._under_way[curl].connection.needs_new():
                    self._start(curl)
                    continue
                ended += self._failed(curl, number, words)
        return ended

    def _failed(self, curl: pycurl.Curl, number: int, words: str) -> Ended:
        """End an exchange that failed, and all that waited for the name that it did not get."""
        connection, origin, token = self._under_way.pop(curl)
        error = connection.failure(number, words)
        connection.close()
        ended: Ended = [(token, error)]
        if origin in self._asking and self._asking[origin].asker is curl:
            for other in self._asking.pop(origin).others:
                waiting = self._under_way.pop(other)
                waiting.connection.close()
                ended.append((waiting.token, error))
        return ended

    def _note_open(self, origin: str) -> None:
        """Take note that a socket opens: its provider's name is known."""
        self._has_opened = True
        if asking := self._asking.pop(origin, None):
            self._known[origin] = time.monotonic() + _NAME_KEPT
            self._startable += asking.others

    def _watch(self, what: int, number: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        """Watch a socket as libcurl wishes.

        A socket stays watched while its connection is idle: to end it and begin again would cost
        two system calls a message. The kernel forgets a socket that is closed, so the number of
        one that was just opened may stand for another one here.
        """
        if what == pycurl.POLL_REMOVE:
            self._wanted.pop(number, None)
            return
        event = self._wanted[number] = _READY[what]
        if self._watched.get(number) == event and not self._has_opened:
            return
        try:
            self._epoll.modify(number, event)
        except FileNotFoundError:
            self._epoll.register(number, event)
        self._watched[number] = event

    def _reap(self) -> None:
        """Close the connections that are too old to be used again."""
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
    """Return the part of a URL that a connection belongs to."""
    return "/".join(url.split("/", 3)[:3])
