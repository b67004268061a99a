"""Threads for blocking calls, which owners share."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import partial

import pytest

from service.channels.workers import Workers


class Door:
    """Calls that wait until it is opened."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self._opened = threading.Event()

    def call(self) -> str:
        self.inside.release()
        assert self._opened.wait(60)
        return "done"

    def open(self) -> None:
        self._opened.set()


def test_a_call_gives_its_result_or_its_error() -> None:
    workers = Workers("test", 2)
    assert workers.submit(partial(int, "7")).result(60) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        workers.submit(partial(int, "seven")).result(60)


def test_whoever_comes_next_finds_a_thread_though_another_ones_calls_do_not_end() -> None:
    workers, door = Workers("test", 2), Door()
    silent: list[Future[str]] = [workers.submit(door.call, "silent") for _ in range(50)]
    for owner in ("one", "two", "three"):
        assert workers.submit(partial(int, "7"), owner).result(60) == 7
    assert door.inside.acquire(timeout=60)
    assert door.inside.acquire(timeout=60)
    assert not door.inside.acquire(blocking=False)
    door.open()
    assert [each.result(60) for each in silent] == ["done"] * 50
