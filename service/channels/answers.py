"""Answers of providers, the meaning of HTTP statuses, and streaks of successes."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from service.channels.errors import (
    BlockedError,
    RequestError,
    RetryableError,
    SendError,
    UncertainError,
)

DEFAULT_HOLD: Final = 60.0
"""Seconds to hold a session that its provider throttles without saying how long."""

STREAK: Final = 1_000
"""Successful answers in a row after which header lines are no longer read, because libcurl calls
Python for each line. The first refusal turns this on again."""

_SUCCESS: Final = range(200, 300)

_scan: Final = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # of CPython
"""Parses JSON without spaces around it. On these, `json.loads` spends longer than on the rest."""


class Answer(NamedTuple):
    """An HTTP answer. `wait` is `Retry-After` in seconds from now, 0 without that header.

    `lines` are the header lines. They are missing in a refusal after a long streak of successes.
    """

    status: int
    body: bytes = b""
    wait: float = 0.0
    lines: tuple[bytes, ...] = ()

    @property
    def accepted(self) -> bool:
        """Return whether the status means success."""
        return self.status in _SUCCESS

    def header(self, name: str) -> str:
        """Return a header's value, empty if it is absent."""
        wanted = name.lower().encode() + b":"
        for line in self.lines:
            if line[: len(wanted)].lower() == wanted:
                return line[len(wanted) :].strip().decode("latin-1")
        return ""


def read(body: bytes) -> dict[str, Any]:
    """Return the JSON object in an answer's body, or an empty one."""
    try:
        said = _loads(body.decode())
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _loads(text: str) -> Any:
    try:
        said, end = _scan(text, 0)
    except StopIteration:
        return json.loads(text)
    return said if end == len(text) else json.loads(text)


class SuccessStreak:
    """Counts successful answers in a row. A long streak saves reading header lines."""

    def __init__(self) -> None:
        self._good = 0
        self.is_long = False

    def answered(self, *, accepted: bool) -> None:
        """Record an answer."""
        if not accepted:
            self.broken()
        elif not self.is_long:
            self._good += 1
            self.is_long = self._good >= STREAK

    def broken(self) -> None:
        """Record a refusal or a missing answer."""
        self._good = 0
        self.is_long = False


def refusal(answer: Answer, said: str = "") -> SendError:
    """Return the error for an HTTP status. `said` is the provider's message, if any.

    With 500, 502 or 504, a gateway does not know what happened behind it (RFC 9110, 15.6).
    """
    reason = said or f"The provider answered with status {answer.status}."
    code = f"http_{answer.status}"
    if answer.accepted or answer.status in {500, 502, 504}:
        return UncertainError(reason, code=code)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return BlockedError(reason, code=code, wait=answer.wait or DEFAULT_HOLD)
    if answer.status in {408, 425, 503} or answer.status > HTTPStatus.GATEWAY_TIMEOUT:
        return RetryableError(reason, code=code, wait=answer.wait)
    if answer.status < HTTPStatus.BAD_REQUEST or answer.status in {401, 402, 403, 404, 405, 407}:
        hint = "" if said else " Check the session's address and credentials."
        return BlockedError(f"{reason}{hint}", code=code)
    return RequestError(reason, code=code)
