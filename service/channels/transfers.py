"""libcurl's multi handles, which run the transfers of one thread with epoll.

There are two kinds of transfer. A transfer that opens a connection or sends much data is `Watched`:
libcurl calls Python for every change of its socket. A message on an open connection only waits for
its answer (`Answering`): its socket is registered once while it is open, libcurl makes no
callbacks, and one call processes all ready transfers.
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
"""Edge-triggered: an idle connection that was closed is reported only once."""

_ALL: Final = 2
"""If at least one transfer in this many is ready, a single call processes all of them."""

Failure = tuple[pycurl.Curl, int, str]

Lines = dict[int, pycurl.Curl]
"""The open connections by socket: whatever happens there is an answer."""


class _Transfers:
    """Transfers of one multi handle."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._multi = pycurl.CurlMulti()
        # Per pool. libcurl ignores a handle's own MAXCONNECTS here.
        self._multi.setopt(pycurl.M_MAXCONNECTS, 1)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Free the handle; this waits for libcurl's resolver threads."""
        self._multi.close()

    def add(self, curl: pycurl.Curl) -> None:
        """Begin a transfer."""
        self._multi.add_handle(curl)
        self._count += 1

    def remove(self, curl: pycurl.Curl) -> None:
        """Remove an ended transfer, or abort one."""
        self._multi.remove_handle(curl)
        self._count -= 1

    def patience(self) -> float:
        """Return the seconds after which libcurl must run, even without events."""
        milliseconds = self._multi.timeout() if self._count else -1
        return milliseconds / 1000 if milliseconds >= 0 else math.inf

    def ended(self) -> tuple[list[pycurl.Curl], list[Failure]]:
        """Remove and return the transfers that succeeded, and those that failed."""
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
    """Transfers whose sockets libcurl chooses to watch."""

    def __init__(self, epoll: select.epoll, lines: Lines) -> None:
        super().__init__(epoll)
        self._lines = lines
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)

    def note(self, number: int, event: int) -> None:
        """Handle an event."""
        ready = pycurl.CSELECT_OUT if event & _OUT else 0
        # libcurl finds a hang-up or an error by reading.
        ready |= pycurl.CSELECT_IN if event & ~_OUT else 0
        self._multi.socket_action(number, ready)

    def carry_on(self) -> None:
        """Begin added transfers, and end those that time out."""
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _watch(self, what: int, number: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        """Watch a socket; the kernel removes it when it closes."""
        if what != pycurl.POLL_REMOVE:
            self._lines.pop(number, None)
            _register(self._epoll, number, _READY[what])


class Answering(_Transfers):
    """Transfers on open connections that wait for their answers. Those in `ready` have one."""

    def __init__(self, epoll: select.epoll, lines: Lines) -> None:
        super().__init__(epoll)
        self._lines = lines
        self.ready: list[pycurl.Curl] = []

    def watch(self, curl: pycurl.Curl) -> None:
        """Watch an opened connection for all its future transfers."""
        number = curl.getinfo(pycurl.ACTIVESOCKET)
        if number >= 0:
            self._lines[number] = curl
            _register(self._epoll, number, _EDGES)

    def carry_on(self) -> None:
        """Begin added transfers, read available answers, end transfers that time out."""
        if _ALL * len(self.ready) >= self._count:
            self._multi.perform()
        else:
            for curl in self.ready:
                _let_run(curl)
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self.ready.clear()


def _register(epoll: select.epoll, number: int, events: int) -> None:
    """Watch a socket for these events."""
    try:
        epoll.modify(number, events)
    except FileNotFoundError:
        epoll.register(number, events)


def _let_run(curl: pycurl.Curl) -> None:
    """Make libcurl process a transfer next: unpausing it has that effect."""
    try:
        curl.unpause()
    except pycurl.error:  # it has ended
        return
