"""Routes Apprise's HTTP through the operator's proxy, or only to public addresses.

Apprise's services call `requests.post` and similar functions. This module makes them use a session
that checks the address of each connection, or that uses the proxy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import requests.api
from apprise.manager_attachment import AttachmentManager
from apprise.utils.http import HTTPPolicy, HTTPPolicySession

from service.channels.addresses import is_public, private_address
from service.channels.base import DriverContext


class Outlet:
    """The HTTP access of one message. `forbidden` is the refused address, if any."""

    def __init__(self, context: DriverContext) -> None:
        self.forbidden = ""
        self._proxy = context.proxy
        self._is_guarded = not context.private_addresses
        self._timeout = context.connect_timeout

    @contextmanager
    def used(self) -> Iterator[None]:
        """Route all requests of this thread through this outlet."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def session(self) -> requests.Session:
        """Open a `requests` session."""
        return _Proxied(self, self._proxy) if self._proxy else self._direct()

    def may_ask_for(self, url: str) -> bool:
        """Return whether the proxy may get this URL."""
        if self._is_guarded:
            self.forbidden = private_address(urlsplit(url).hostname or "")
        return not self.forbidden

    def _direct(self) -> requests.Session:
        policy = HTTPPolicy(address_filter=self._may_connect_to, resolve_timeout=self._timeout)
        session: requests.Session = HTTPPolicySession(policy)
        return session

    def _may_connect_to(self, address: str) -> bool:
        if self._is_guarded and not is_public(address):
            self.forbidden = address
            return False
        return True


class _Proxied(requests.Session):
    """A session that sends all requests to the proxy."""

    def __init__(self, outlet: Outlet, proxy: str) -> None:
        super().__init__()
        self._outlet = outlet
        self.trust_env = False
        self.proxies = {"http": proxy, "https": proxy}

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request or follow a redirect, unless the host is private."""
        if not self._outlet.may_ask_for(request.url or ""):
            message = "This URL leads to a private address."
            raise requests.exceptions.InvalidURL(message)
        return super().send(request, **options)


_current: ContextVar[Outlet] = ContextVar("outlet")


def _open() -> requests.Session:
    return _current.get().session()


def _take_over() -> None:
    """Make `requests` open our sessions, and stop Apprise from loading attachments by URL."""
    vars(requests.api)["sessions"] = SimpleNamespace(Session=_open)
    AttachmentManager().remove("http", "https", "file", unload=False)


_take_over()
