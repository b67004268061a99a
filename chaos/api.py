"""The service as its clients see it: one connection a request, and every answer kept."""

from __future__ import annotations

import json
import threading
import time
from http.client import HTTPException
from typing import Any, NamedTuple

from tests.serving import Caller

_LONGEST_WAIT = 60.0


class Answer(NamedTuple):
    """What came of one request; `status` 0: no answer, for the reason in `text`.

    Moments in seconds of Unix time.
    """

    method: str
    path: str
    began: float
    ended: float
    status: int
    text: str

    @property
    def data(self) -> Any:
        """Return what the envelope carries."""
        return json.loads(self.text)["data"]

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.ended - self.began


class Api:
    """A client program with a token; safe for several threads."""

    def __init__(self, port: int, token: str) -> None:
        self._caller = Caller(port, token, _LONGEST_WAIT)
        self._lock = threading.Lock()
        self.answers: list[Answer] = []

    def get(self, path: str) -> Answer:
        """Fetch something."""
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: dict[str, Any], key: str = "") -> Answer:
        """Post JSON, under an idempotency key if one is given."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._ask("POST", path, json.dumps(body).encode(), headers)

    def upload(self, content: bytes) -> Answer:
        """Upload a text file."""
        head = 'Content-Disposition: form-data; name="file"; filename="chaos.txt"'
        body = f"--chaos\r\n{head}\r\n\r\n".encode() + content + b"\r\n--chaos--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=chaos"}
        return self._ask("POST", "/attachment", body, kind)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        began = time.time()
        status, text = self._call(method, path, body, headers)
        answer = Answer(method, path.partition("?")[0], began, time.time(), status, text)
        # The bodies of good answers would fill the memory.
        kept = answer._replace(text="" if 0 < status < 400 else text[:500])  # noqa: PLR2004
        with self._lock:
            self.answers.append(kept)
        return answer

    def _call(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str]:
        headers |= {"Connection": "close"}
        try:
            answer = self._caller.ask(method, path, body, headers)
        except (OSError, HTTPException) as error:
            return 0, f"{type(error).__name__}: {error}"
        return answer.status, answer.body.decode(errors="replace")
