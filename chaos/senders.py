"""Senders: clients that an attack lets loose on the service, and what was answered to them."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any, Final, NamedTuple

from tests.serving import Caller

_TIMEOUT: Final = 30.0


class Reply(NamedTuple):
    """What an answer says: its status, and the start of its body."""

    status: int
    body: str


class Tally:
    """How often each status was answered, and what was answered that must not be.

    `unanswered` counts the requests without an answer; `is_gone`: nobody listens any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []
        self.unanswered = 0
        self.is_gone = False

    def note(self, request: str, reply: Reply) -> None:
        """Count an answer. Only a 503 in the envelope may be an error of the server."""
        is_fault = reply.status >= 500 and not _is_busy(reply)  # noqa: PLR2004 - server errors
        with self._lock:
            self.statuses[reply.status] += 1
            if is_fault:
                self.faults.append(f"{request}: {reply.status} {reply.body}")

    def note_silence(self, error: Exception) -> None:
        """Count a request that got no answer."""
        with self._lock:
            self.unanswered += 1
            self.is_gone |= isinstance(error, ConnectionRefusedError)

    def add(self, other: Mapping[str, Any]) -> None:
        """Add what another process has counted, as `told` returns it."""
        self.statuses.update({int(status): count for status, count in other["statuses"].items()})
        self.faults += other["faults"]
        self.unanswered += other["unanswered"]

    def told(self) -> dict[str, Any]:
        """Return what was counted, for JSON."""
        return {
            "statuses": self.statuses,
            "faults": self.faults,
            "unanswered": self.unanswered,
        }


class Sender:
    """Sends requests to the service with a token, each by a connection of its own."""

    def __init__(self, port: int, token: str, tally: Tally) -> None:
        self._caller = Caller(port, token, _TIMEOUT)
        self._tally = tally

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply | None:
        """Send a request; return the answer, None if the connection was closed before one.

        A body in pieces is sent in chunks, unless `headers` say how it is encoded already.
        """
        try:
            answer = self._caller.ask(method, path, body, headers, most=1_000)
        except (HTTPException, OSError, ValueError) as error:
            self._tally.note_silence(error)
            return None
        reply = Reply(answer.status, answer.body.decode(errors="replace"))
        self._tally.note(f"{method} {path[:100]}", reply)
        return reply

    def make(self, path: str, **fields: Any) -> str:
        """Create an object; return its id, empty if that was refused."""
        reply = self.send("POST", path, json.dumps(fields).encode())
        if reply is None or reply.status >= 400:  # noqa: PLR2004 - refused
            return ""
        _, _, rest = reply.body.partition('"_id":')
        return rest.strip().partition(",")[0].strip('" }')


def _is_busy(reply: Reply) -> bool:
    return reply.status == 503 and '"status":false' in reply.body.replace(" ", "")  # noqa: PLR2004
