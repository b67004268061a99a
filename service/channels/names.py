"""Host names of calls through a proxy, checked for private addresses first.

The proxy resolves names itself and may get another answer, so it must refuse private addresses too.
This check finds what is private as seen from this machine.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from service.channels.addresses import forbidden, private_address
from service.channels.workers import Workers

LOOKING: Final = Workers("names", 8)
"""Threads that wait for the resolver."""

_KEPT: Final = 60.0
"""Seconds for which an answer is cached."""

_MOST: Final = 1_000
"""The most cached names."""


class Names:
    """A cache of resolved hosts. One thread uses it, but any may call `look_up`."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, str]] = {}

    def is_known(self, url: str) -> bool:
        """Return whether a URL's host is cached; raises BlockedError if it is private."""
        until, address = self._found.get(host_of(url), (0.0, ""))
        if until < time.monotonic():
            return False
        if address:
            raise forbidden(address)
        return True

    def look_up(self, url: str) -> None:
        """Resolve a URL's host, and wait for the answer."""
        host = host_of(url)
        address = private_address(host)
        if len(self._found) >= _MOST:
            self._found.clear()
        self._found[host] = time.monotonic() + _KEPT, address


@lru_cache(1_000)
def host_of(url: str) -> str:
    """Return the host that a URL names, empty if it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # libcurl reports what is wrong
        return ""
