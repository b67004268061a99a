"""A client program: requests over one kept connection, timed."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What came back, and after how many milliseconds."""

    status: int
    data: Any
    ms: float


class Api:
    """A connection to one gunicorn, with a token."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def get(self, path: str) -> Answer:
        """Fetch."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: bytes) -> Answer:
        """Post JSON."""
        return self._ask("POST", path, body)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        began = time.perf_counter()
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        raw = answer.read()
        ms = (time.perf_counter() - began) * 1000
        return Answer(answer.status, json.loads(raw).get("data"), ms)


def order(first: int, recipients: int, text: str) -> bytes:
    """Return the body of a broadcast for so many numbers in a row."""
    to = ",".join(map(str, range(first, first + recipients)))
    return json.dumps({"send_type": "individual", "to": to, "message": {"text": text}}).encode()
