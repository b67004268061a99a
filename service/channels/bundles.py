"""Several connections to one provider that one thread uses at once.

Behind a provider that answers at once, threads wait for the interpreter instead of the network, and
every message makes them take turns. One thread that has several messages under way takes its turn
for some of them together.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

import pycurl

from service.channels.answers import Answer, Weather
from service.channels.base import SendError, Surroundings
from service.channels.connections import Connection

_LONGEST_WAIT: Final = 0.1
"""Seconds after which is looked in any case: pycurl waits by `select`, which is blind to file
descriptors from 1,024 on."""

_NAP: Final = 0.001

Failures = dict[Connection, tuple[int, str]]
"""libcurl's errors, each a number with words."""


class Bundle:
    """Connections that are driven together."""

    def __init__(self, surroundings: Surroundings, weather: Weather, *, guarded: bool) -> None:
        self._surroundings = surroundings
        self._weather = weather
        self._guarded = guarded
        self._multi = pycurl.CurlMulti()
        self._connections: list[Connection] = []
        self._shares: list[pycurl.CurlShare] = []

    def post(
        self, url: str, bodies: Sequence[bytes], headers: Sequence[str]
    ) -> list[Answer | SendError]:
        """Send bodies at once; return what became of each."""
        while len(self._connections) < len(bodies):
            self._connections.append(self._connection())
        connections = self._connections[: len(bodies)]
        for connection, body in zip(connections, bodies, strict=True):
            connection.aim(url, headers, pycurl.POST)
            connection.curl.setopt(pycurl.POSTFIELDS, body)
        failures = self._exchange(connections)
        return [
            connection.failure(*failures[connection], len(body))
            if connection in failures
            else connection.answer()
            for connection, body in zip(connections, bodies, strict=True)
        ]

    def _connection(self) -> Connection:
        """Return one more, which keeps its socket to itself.

        Out of a common pool libcurl would repeat a POST, by itself and silently, on each of the
        others' sockets that is free.
        """
        connection = Connection(self._surroundings, self._weather, guarded=self._guarded)
        share = pycurl.CurlShare()
        share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_CONNECT)
        connection.curl.setopt(pycurl.SHARE, share)
        self._shares.append(share)
        return connection

    def _exchange(self, connections: list[Connection]) -> Failures:
        """Carry out all requests; where nothing was written, on new connections in the end."""
        for connection in connections:
            connection.begin()
        failures = self._perform(connections)
        unsent = [connection for connection in failures if connection.needs_new()]
        for connection in unsent:
            connection.begin(anew=True)
            del failures[connection]
        return failures | self._perform(unsent)

    def _perform(self, connections: Iterable[Connection]) -> Failures:
        under_way = {connection.curl: connection for connection in connections}
        for curl in under_way:
            self._multi.add_handle(curl)
        failures: Failures = {}
        while under_way:
            self._multi.perform()
            _, ended, failed = self._multi.info_read()
            for curl in ended:
                self._multi.remove_handle(curl)
                del under_way[curl]
            for curl, number, words in failed:
                self._multi.remove_handle(curl)
                failures[under_way.pop(curl)] = (number, words)
            if under_way and not ended:
                self._wait()
        return failures

    def _wait(self) -> None:
        """Wait until something moves, or a time is over."""
        milliseconds = self._multi.timeout()
        longest = _LONGEST_WAIT if milliseconds < 0 else min(milliseconds / 1e3, _LONGEST_WAIT)
        if self._multi.select(longest) < 0:
            time.sleep(_NAP)
