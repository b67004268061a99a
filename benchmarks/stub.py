"""A provider that writes down what it takes before it answers, in a process of its own.

It speaks enough of the Cloud API and of WAHA to take a message. The path says how long it takes:
`/200ms/…` answers after 200 ms, `/never/…` not at all, any other at once. Into its message_log go

    taken MOMENT CONNECTION RECIPIENT REFERENCE KIND
    answered MOMENT CONNECTION
    opened MOMENT CONNECTION
    closed MOMENT CONNECTION

with moments in seconds of the monotonic clock, which all processes of a machine share. Connections
are numbered; one carries a message at a time.

    python -m benchmarks.stub PORT JOURNAL
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from io import FileIO
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import limits

_DELAY = re.compile(r"/([0-9]+)ms/")
_NEVER = float("inf")
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


class Taken(NamedTuple):
    """A message that was taken; `answered` and `closed`, of its connection: inf where never."""

    moment: float
    recipient: str
    reference: str
    kind: str
    answered: float = _NEVER
    closed: float = _NEVER


class MessageLog:
    """What a stub wrote down so far."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def moments(self) -> list[float]:
        """Return when each message was taken, in their order."""
        return [float(line[1]) for line in self._lines() if line[0] == "taken"]

    def closings(self) -> list[float]:
        """Return when each connection that is closed was closed."""
        return [float(line[1]) for line in self._lines() if line[0] == "closed"]

    def taken(self) -> list[Taken]:
        """Return all messages, in their order."""
        found: dict[str, list[Taken]] = {}
        for what, moment, connection, *rest in self._lines():
            mine, at = found.setdefault(connection, []), float(moment)
            if what == "taken":
                recipient, reference, kind = rest
                mine.append(Taken(at, recipient, reference, kind))
            elif what == "answered" and mine:
                mine[-1] = mine[-1]._replace(answered=at)
            elif what == "closed":
                mine[:] = [each._replace(closed=at) for each in mine]
        return sorted(chain.from_iterable(found.values()))

    def _lines(self) -> list[list[str]]:
        whole = self._path.read_text().rpartition("\n")[0]
        return [line.split(" ") for line in whole.splitlines()]


class _Connection(asyncio.Protocol):
    """One connection: requests in, answers out when their time has come."""

    def __init__(self, message_log: FileIO, number: int) -> None:
        self._message_log = message_log
        self._number = number
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._note("opened")

    def connection_lost(self, _error: Exception | None) -> None:
        self._note("closed")

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if found and len(rest) >= size:
            self._received = rest[size:]
            self._take(head.partition(b"\r\n")[0].decode(), rest[:size])

    def _take(self, line: str, body: bytes) -> None:
        method, path, _ = line.split(" ")
        answer = self._waha(body) if "/api/" in path else self._cloud(method, body)
        whole = _HEAD.format(len(answer)) + answer
        if delay := _DELAY.match(path):
            loop = asyncio.get_running_loop()
            loop.call_later(int(delay[1]) / 1000, self._answer, whole.encode())
        elif not path.startswith("/never/"):
            self._answer(whole.encode())

    def _answer(self, whole: bytes) -> None:
        if not self._transport.is_closing():
            self._note("answered")
            self._transport.write(whole)

    def _cloud(self, method: str, body: bytes) -> str:
        if method != "POST":
            return '{"id":"1","status":"CONNECTED"}'
        said = json.loads(body)
        reference = said.get("biz_opaque_callback_data", "-")
        self._note(f"taken {said['to']} {reference} {said['type']}")
        return json.dumps({"messages": [{"id": f"wamid.{reference}"}]})

    def _waha(self, body: bytes) -> str:
        said = json.loads(body) if body else {}
        if "chatId" not in said:
            return '{"id":"3EB0","status":"WORKING"}'
        recipient, _, _ = said["chatId"].partition("@")
        key = said.get("id", "-")
        self._note(f"taken {recipient} {key} {'text' if 'text' in said else 'other'}")
        return json.dumps({"id": f"true_{said['chatId']}_{key}"})

    def _note(self, what: str) -> None:
        verb, _, rest = what.partition(" ")
        line = f"{verb} {time.monotonic():.6f} {self._number} {rest}".rstrip()
        self._message_log.write(f"{line}\n".encode())


async def serve(port: int, message_log: FileIO) -> None:
    """Serve until the process is told to end."""
    loop, numbers, ended = asyncio.get_running_loop(), count(1), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await loop.create_server(
        lambda: _Connection(message_log, next(numbers)), "127.0.0.1", port, backlog=4096
    )
    await ended.wait()


def main() -> None:
    """Serve at the port, with the message_log, that the command line names."""
    limits.at_most()
    with open(sys.argv[2], "ab", buffering=0) as message_log:  # noqa: PTH123 - Path has no FileIO
        asyncio.run(serve(int(sys.argv[1]), message_log))


if __name__ == "__main__":
    main()
