"""Tables of gateways' error codes, and the error for each code."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UnknownCodeError,
)


class About(Enum):
    """The subject of an error code, which decides the error class."""

    RECIPIENT = "this recipient cannot be reached"
    OPT_OUT = "this recipient has opted out"
    REQUEST = "the message is refused for all recipients"
    ACCOUNT = "the account cannot send until somebody fixes it"
    LIMIT = "the account exceeds a limit and must wait"
    PASSING = "a temporary error"


class Code(NamedTuple):
    """A table entry: its subject, our text for it, if any, and the seconds to wait."""

    about: About
    reason: str = ""
    wait: float = 60.0


class Codes:
    """A gateway's table of error codes, which are numbers or words."""

    def __init__(self, gateway: str, table: Mapping[Any, Code]) -> None:
        self._gateway = gateway
        self._table = table

    def __contains__(self, word: object) -> bool:
        """Return whether a code is in the table."""
        return word in self._table

    def error(self, word: int | str, said: str = "", *, wait: float = 0.0) -> SendError:
        """Return the error for a code; `said` is the gateway's text, `wait` its seconds."""
        code, name = self._table.get(word), str(word)
        if code is None:
            reason = said or f"{self._gateway} refused the message with the code {name}."
            return UnknownCodeError(reason, code=name)
        reason = code.reason or said or f"{self._gateway} refused the message."
        match code.about:
            case About.RECIPIENT | About.OPT_OUT:
                return PermanentError(reason, code=name, opted_out=code.about is About.OPT_OUT)
            case About.REQUEST:
                return RequestError(reason, code=name)
            case About.ACCOUNT:
                return BlockedError(reason, code=name)
            case About.LIMIT:
                return BlockedError(reason, code=name, wait=wait or code.wait)
            case About.PASSING:
                return RetryableError(reason, code=name, wait=wait)
