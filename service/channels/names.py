"""The names of providers that a proxy calls, looked up here first.

A proxy resolves a name by itself, so what is checked here may differ from what it connects to. It
has to refuse private addresses, too; this check finds what is private as seen from here.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from service.channels.addresses import forbidden, private_address
from service.channels.steps import Workers

LOOKING: Final = Workers("names", 8)
"""The threads that wait for the resolver."""

_KEPT: Final = 60.0
"""Seconds for which an answer is believed."""

_MOST: Final = 1_000
"""Names that are remembered."""


class Names:
    """What is known of the hosts in URLs: used by one thread, but `look_up` by any."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, str]] = {}

    def is_known(self, url: str) -> bool:
        """Tell whether a URL's host was looked up lately; raises BlockedError if it is private."""
        until, address = self._found.get(_host(url), (0.0, ""))
        if until < time.monotonic():
            return False
        if address:
            raise forbidden(address)
        return True

    def look_up(self, url: str) -> None:
        """Ask the resolver for a URL's host, and wait for its answer."""
        host = _host(url)
        address = private_address(host)
        if len(self._found) >= _MOST:
            self._found.clear()
        self._found[host] = time.monotonic() + _KEPT, address


@lru_cache(1_000)
def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # libcurl says what is wrong with it
        return ""
