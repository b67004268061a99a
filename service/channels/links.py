"""Links: connections that a process keeps open for sessions, such as a bind at an SMSC.

All links of a process live in one thread with an asyncio event loop. Other threads start coroutines
there and get futures.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, Protocol

from service.channels.steps import T

_FAREWELL: Final = 10.0
"""Longest time in seconds in which a link says goodbye."""


class Link(Protocol):
    """The connection of one session. It connects by itself, again and again, until it is closed."""

    @property
    def is_up(self) -> bool:
        """Return whether messages can be sent now."""

    async def run(self) -> None:
        """Keep the connection until cancelled; raises nothing else."""

    async def close(self) -> None:
        """Send nothing more, wait a short time for answers, and disconnect."""


class Links:
    """The links of this process, by session. Any thread may call any method."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._running: dict[str, Future[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self.on_up: Callable[[], None] = lambda: None

    def get(self, session_id: str) -> Link | None:
        """Return the link of a session if this process keeps it."""
        return self._links.get(session_id)

    def kept(self) -> set[str]:
        """Return the sessions whose links this process keeps."""
        return set(self._links)

    def are_up(self) -> list[str]:
        """Return the sessions that can send through this process."""
        return [session_id for session_id, link in list(self._links.items()) if link.is_up]

    def is_up(self, session_id: str) -> bool:
        """Return whether a session can send through this process."""
        link = self._links.get(session_id)
        return link is not None and link.is_up

    def keep(self, session_id: str, link: Link) -> None:
        """Keep a link from now on."""
        self._links[session_id] = link
        self._running[session_id] = self.run(link.run())

    def drop(self, session_id: str) -> None:
        """Close a link, and wait until it is closed."""
        self._close({session_id: self._links.pop(session_id)})

    def close(self) -> None:
        """Close all links, and wait until they are closed."""
        links, self._links = self._links, {}
        self._close(links)

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine in the thread of the links."""
        with self._lock:
            loop = self._loop = self._loop or _start()
        return asyncio.run_coroutine_threadsafe(work, loop)

    def _close(self, links: dict[str, Link]) -> None:
        closing = [self.run(link.close()) for link in links.values()]
        for each in closing:
            with suppress(TimeoutError):
                each.result(_FAREWELL)
        for session_id in links:
            self._running.pop(session_id).cancel()


def _start() -> asyncio.AbstractEventLoop:
    """Start the thread. It ends with the process: each link says goodbye when it is closed."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="crier-links", daemon=True).start()
    return loop
