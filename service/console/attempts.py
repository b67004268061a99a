"""Attempts to sign in that failed: an address that makes too many of them has to wait.

Counted in each process by itself. Nobody guesses 160 random bits; this keeps those who try from
costing anything.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from service.errors import ServiceError

MOST: Final = 10
"""Failures of one address within `WINDOW`; one more is refused unseen."""

WINDOW: Final = 60_000
"""Milliseconds after which a failure is forgotten."""

_MOST_ADDRESSES: Final = 10_000


class TooManyAttemptsError(ServiceError):
    """Too many attempts to sign in have failed from this address: try again in a minute."""

    status = 429

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(WINDOW // 1000)})


class Attempts:
    """The failures of the last minute, by address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, list[int]] = OrderedDict()

    def check(self, address: str, *, now: int) -> None:
        """Raise TooManyAttemptsError for an address that has to wait."""
        with self._lock:
            if len(self._recent(address, now)) >= MOST:
                raise TooManyAttemptsError

    def note(self, address: str, *, now: int) -> None:
        """Count a failure."""
        with self._lock:
            self._failed[address] = [*self._recent(address, now), now]
            self._failed.move_to_end(address)
            if len(self._failed) > _MOST_ADDRESSES:
                self._failed.popitem(last=False)

    def _recent(self, address: str, now: int) -> list[int]:
        return [at for at in self._failed.get(address, ()) if at > now - WINDOW]
