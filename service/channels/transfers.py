"""libcurl's multi handles: how the transfers of one thread are carried on, by epoll.

There are two kinds of transfer. One that opens its connection, or sends much, is watched as libcurl
wishes (`Watched`): it calls Python for every change of a socket. A message on an open connection
has only its answer to wait for (`Answering`): its socket is registered once for as long as it is
open, libcurl calls nobody, and one call carries on all that is ready.
"""

from __future__ import annotations

import math
import select
from typing import Final

import pycurl

_READY: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}

_OUT: Final = select.EPOLLOUT

_EDGES: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
"""Told once for each change: an idle connection that was closed does not go on telling so."""

_ALL: Final = 4
"""All transfers are carried on where one in so many is ready: that is one call for all of them."""

Failure = tuple[pycurl.Curl, int, str]


class _Transfers:
    """Transfers of one multi handle."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._multi = pycurl.CurlMulti()
        # Of each pool; that of a handle's own MAXCONNECTS is not looked at here.
        self._multi.setopt(pycurl.M_MAXCONNECTS, 1)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Free the handle; it waits for the threads that resolve names."""
        self._multi.close()

    def add(self, curl: pycurl.Curl) -> None:
        """Begin a transfer."""
        self._multi.add_handle(curl)
        self._count += 1

    def remove(self, curl: pycurl.Curl) -> None:
        """Take out a transfer that has ended, or break it off."""
        self._multi.remove_handle(curl)
        self._count -= 1

    def patience(self) -> float:
        """Return the seconds after which to carry on in any case."""
        milliseconds = self._multi.timeout() if self._count else -1
        return milliseconds / 1000 if milliseconds >= 0 else math.inf

    def ended(self) -> tuple[list[pycurl.Curl], list[Failure]]:
        """Take out the transfers that have ended, well or badly."""
        more, good, bad = self._multi.info_read()
        while more:
            more, also_good, also_bad = self._multi.info_read()
            good += also_good
            bad += also_bad
        for curl in good:
            self._multi.remove_handle(curl)
        for curl, _, _ in bad:
            self._multi.remove_handle(curl)
        self._count -= len(good) + len(bad)
        return good, bad


class Watched(_Transfers):
    """Transfers whose sockets are watched as libcurl wishes."""

    def __init__(self, epoll: select.epoll) -> None:
        super().__init__(epoll)
        self._wanted: set[int] = set()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)

    def note(self, number: int, event: int) -> bool:
        """Act on an event; return False where the socket is none of these transfers'."""
        if number not in self._wanted:
            return False
        ready = pycurl.CSELECT_OUT if event & _OUT else 0
        # A hang-up or an error is read like an answer.
        ready |= pycurl.CSELECT_IN if event & ~_OUT else 0
        self._multi.socket_action(number, ready)
        return True

    def carry_on(self) -> None:
        """Begin what was added, and end what has taken too long."""
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _watch(self, what: int, number: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        """Watch a socket; the kernel forgets it when it is closed."""
        if what == pycurl.POLL_REMOVE:
            self._wanted.discard(number)
            return
        self._wanted.add(number)
        watch(self._epoll, number, _READY[what])


class Answering(_Transfers):
    """Transfers on open connections, each of which waits for its answer."""

    def __init__(self, epoll: select.epoll) -> None:
        super().__init__(epoll)
        self._lines: dict[int, pycurl.Curl] = {}
        self._ready: list[pycurl.Curl] = []
        self._added = 0

    def add(self, curl: pycurl.Curl) -> None:
        """Begin a transfer."""
        super().add(curl)
        self._added += 1

    def watch(self, curl: pycurl.Curl) -> None:
        """Watch a connection that was opened, for all of its transfers to come."""
        number = curl.getinfo(pycurl.ACTIVESOCKET)
        if number >= 0:
            self._lines[number] = curl
            watch(self._epoll, number, _EDGES)

    def note(self, number: int) -> None:
        """Take note of an event."""
        if curl := self._lines.get(number):
            self._ready.append(curl)

    def carry_on(self) -> None:
        """Begin what was added, read the answers that are there, end what has taken too long."""
        if _ALL * (len(self._ready) + self._added) >= self._count:
            self._multi.perform()
        else:
            for curl in self._ready:
                _let_run(curl)
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._ready.clear()
        self._added = 0


def watch(epoll: select.epoll, number: int, events: int) -> None:
    """Watch a socket for these events from now on."""
    try:
        epoll.modify(number, events)
    except FileNotFoundError:
        epoll.register(number, events)


def _let_run(curl: pycurl.Curl) -> None:
    """Have a transfer looked at next; nothing is paused."""
    try:
        curl.unpause()
    except pycurl.error:  # it has ended
        return
