"""Threads for blocking calls."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from werkzeug.utils import cached_property

from service.channels.places import Places

T = TypeVar("T")

_MOST: Final = 10_000
"""More threads than there are places. A pool starts as many as it needs."""


class Workers:
    """A thread pool for blocking calls, started on first use.

    One owner's calls take at most `threads` threads. The others share as many again.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._places = Places(2 * threads)
        self._waiting: dict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = {}
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], T], owner: str = "") -> Future[T]:
        """Call a function in a thread as soon as its owner has a place."""
        done: Future[T] = Future()
        with self._lock:
            self._waiting.setdefault(owner, deque()).append((done, function))
            self._start_some()
        return done

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Return the thread pool. It is created after any fork, on the first call."""
        return ThreadPoolExecutor(_MOST, thread_name_prefix=f"crier-{self._name}")

    def _start_some(self) -> None:
        while (owner := self._places.next(self._waiting)) is not None:
            done, function = self._waiting[owner].popleft()
            if not self._waiting[owner]:
                del self._waiting[owner]
            self._places.take(owner)
            self._pool.submit(self._run, owner, done, function)

    def _run(self, owner: str, done: Future[T], function: Callable[[], T]) -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - whoever waits for the call gets it
            done.set_exception(error)
        else:
            done.set_result(result)
        finally:
            with self._lock:
                self._places.give_back(owner)
                self._start_some()
