"""Many messages under way at once from one thread, over curl's multi handle."""

from __future__ import annotations

import json
import select
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import pycurl

from benchmarks import message

_FEW = 64
"""Up to so many, libcurl's own look at all sockets is faster than an epoll of ours."""

_OK = 200
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
_EVENTS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


def send_all(
    url: str, messages: Iterable[tuple[str, str]], under_way: int
) -> Iterator[tuple[str, str]]:
    """Send (reference, recipient) of each; yield each reference with the provider's message id.

    The messages are asked for as there is room: whoever makes them should have some ready.
    """
    multi = _Polled() if under_way <= _FEW else _Waited()
    waiting = iter(messages)
    lines: dict[pycurl.Curl, _Line] = {}

    def begin(line: _Line) -> None:
        for reference, recipient in islice(waiting, 1):
            line.begin(reference, recipient)
            lines[line.curl] = line
            multi.add_handle(line.curl)

    for _ in range(under_way):
        begin(_Line(url))
    while lines:
        for curl in multi.finished():
            line = lines.pop(curl)
            yield line.reference, line.taken()
            multi.remove_handle(curl)
            begin(line)


class _Line:
    """A curl handle with one connection to the provider, which is kept alive."""

    def __init__(self, url: str) -> None:
        self.reference = ""
        self._said: list[bytes] = []
        self.curl = pycurl.Curl()
        self._share = pycurl.CurlShare()
        self._share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_CONNECT)
        headers = [f"{name}: {value}" for name, value in message.HEADERS.items()]
        for option, value in {
            pycurl.URL: f"{url}{message.PATH}",
            pycurl.HTTPHEADER: [*headers, "Expect:"],
            pycurl.WRITEFUNCTION: self._said.append,
            pycurl.NOSIGNAL: 1,
            pycurl.SHARE: self._share,
        }.items():
            self.curl.setopt(option, value)

    def begin(self, reference: str, recipient: str) -> None:
        """Make ready for a message."""
        self.reference = reference
        self._said.clear()
        self.curl.setopt(pycurl.POSTFIELDS, message.body(recipient, reference))

    def taken(self) -> str:
        """Return the provider's id of the message."""
        if self.curl.getinfo(pycurl.RESPONSE_CODE) != _OK:
            raise RuntimeError(self._said)
        return str(json.loads(b"".join(self._said))["messages"][0]["id"])


class _Multi:
    """A multi handle: `_advance` carries on what can be carried on, `_rest` waits for more."""

    def __init__(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, 1)
        self.add_handle = self._multi.add_handle
        self.remove_handle = self._multi.remove_handle

    def finished(self) -> list[pycurl.Curl]:
        """Return the handles whose answers are there; none: after some waiting."""
        self._advance()
        found: list[pycurl.Curl] = []
        more = 1
        while more:
            more, done, broken = self._multi.info_read()
            if broken:
                raise RuntimeError(broken[0][2])
            found += done
        if not found:
            self._rest()
        return found

    def _advance(self) -> None:
        raise NotImplementedError

    def _rest(self) -> None:
        raise NotImplementedError


class _Polled(_Multi):
    """For few: libcurl looks at all of its sockets each time."""

    def _advance(self) -> None:
        self._multi.perform()

    def _rest(self) -> None:
        self._multi.select(1.0)


class _Waited(_Multi):
    """For many: the kernel tells which sockets have something to say."""

    def __init__(self) -> None:
        super().__init__()
        self._epoll = select.epoll()
        self._known: set[int] = set()
        self._is_due = True
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._note)

    def _advance(self) -> None:
        for descriptor, event in self._epoll.poll(0):
            what = pycurl.CSELECT_IN if event & _READABLE else 0
            what |= pycurl.CSELECT_OUT if event & select.EPOLLOUT else 0
            self._multi.socket_action(descriptor, what)
        if self._is_due:
            self._is_due = False
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _rest(self) -> None:
        if not self._is_due and not self._epoll.poll(1.0):
            self._is_due = True

    def _note(self, milliseconds: int) -> None:
        self._is_due = milliseconds == 0

    def _watch(self, what: int, descriptor: int, *_: Any) -> None:
        if what == pycurl.POLL_REMOVE:
            self._known.discard(descriptor)
            with suppress(OSError):
                self._epoll.unregister(descriptor)
        elif descriptor in self._known:
            self._epoll.modify(descriptor, _EVENTS[what])
        else:
            self._known.add(descriptor)
            self._epoll.register(descriptor, _EVENTS[what])
