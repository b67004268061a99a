"""Several connections to one provider that one thread uses at once.

Behind a provider that answers at once, threads wait for the interpreter instead of the network, and
every message makes them take turns. One thread that has several messages under way takes its turn
for some of them together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import pycurl

from service.channels.answers import Answer, Weather
from service.channels.base import SendError, Surroundings
from service.channels.connections import Connection

_LONGEST_WAIT: Final = 0.1
"""Seconds after which is looked in any case: pycurl waits by `select`, which is blind to file
descriptors from 1,024 on."""

_NAP: Final = 0.001

_UnderWay = dict[pycurl.Curl, tuple[Connection, int]]
"""Requests, each with its connection and the size of its body in bytes."""


class Bundle:
    """Connections that are driven together."""

    def __init__(self, surroundings: Surroundings, weather: Weather, *, guarded: bool) -> None:
        self._surroundings = surroundings
        self._weather = weather
        self._guarded = guarded
        self._multi = pycurl.CurlMulti()
        # Of each share, as the handles' own MAXCONNECTS is not asked here.
        self._multi.setopt(pycurl.M_MAXCONNECTS, 1)
        self._connections: list[Connection] = []

    def post(
        self, url: str, bodies: Sequence[bytes], headers: Sequence[str]
    ) -> list[Answer | SendError]:
        """Send bodies at once; return what became of each."""
        while len(self._connections) < len(bodies):
            self._connections.append(self._connection())
        connections = self._connections[: len(bodies)]
        under_way: _UnderWay = {}
        for connection, body in zip(connections, bodies, strict=True):
            connection.aim(url, headers, pycurl.POST)
            connection.curl.setopt(pycurl.POSTFIELDS, body)
            connection.begin()
            under_way[connection.curl] = connection, len(body)
        results = self._perform(under_way)
        return [results[connection.curl] for connection in connections]

    def _connection(self) -> Connection:
        """Return one more, which keeps its socket to itself.

        Out of a common pool libcurl would repeat a POST, by itself and silently, on each of the
        others' sockets that is free; so it would on an old one of its own that was left behind.
        """
        connection = Connection(self._surroundings, self._weather, guarded=self._guarded)
        share = pycurl.CurlShare()
        share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_CONNECT)
        connection.curl.setopt(pycurl.SHARE, share)
        return connection

    def _perform(self, under_way: _UnderWay) -> dict[pycurl.Curl, Answer | SendError]:
        """Carry out requests; return what became of each."""
        results: dict[pycurl.Curl, Answer | SendError] = {}
        for curl in under_way:
            self._multi.add_handle(curl)
        while under_way:
            self._multi.perform()
            _, ended, failed = self._multi.info_read()
            for curl in ended:
                self._multi.remove_handle(curl)
                results[curl] = under_way.pop(curl)[0].answer()
            for curl, number, words in failed:
                self._multi.remove_handle(curl)
                connection, size = under_way[curl]
                if connection.needs_new():  # at once: the others may take long
                    connection.begin(anew=True)
                    self._multi.add_handle(curl)
                else:
                    del under_way[curl]
                    results[curl] = connection.failure(number, words, size)
            if under_way and not ended:
                self._wait()
        return results

    def _wait(self) -> None:
        """Wait until something moves, or a time is over."""
        milliseconds = self._multi.timeout()
        longest = _LONGEST_WAIT if milliseconds < 0 else min(milliseconds / 1e3, _LONGEST_WAIT)
        if self._multi.select(longest) < 0:
            time.sleep(_NAP)
