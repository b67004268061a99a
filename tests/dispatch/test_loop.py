"""A thread that takes turns."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.exc import OperationalError

from service.dispatch.loop import Loop
from tests.waiting import until

LONG = 3600.0

_FORKING = """
import os
from service.dispatch.loop import Loop
loop = Loop("test", lambda: 3600.0)
child = os.fork()
if not child:
    loop.start()
    alive = not loop.stands_still() and not loop.join(0.0)
    loop.stop()
    os._exit(0 if alive and loop.join(60.0) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Turns:
    """Turns that do nothing but be counted."""

    def __init__(self, wait: float) -> None:
        self.count = 0
        self._wait = wait

    def __call__(self) -> float:
        self.count += 1
        return self._wait


@pytest.fixture
def start() -> Iterator[Callable[[Loop], Loop]]:
    """Return what starts a loop, which ends with the test."""
    started: list[Loop] = []

    def run(loop: Loop) -> Loop:
        loop.start()
        started.append(loop)
        return loop

    yield run
    for loop in started:
        loop.stop()
        assert loop.join(60)


def test_turns_follow_each_other(start: Callable[[Loop], Loop]) -> None:
    turns = Turns(0.0)
    start(Loop("test", turns))
    until(lambda: turns.count > 10)


def test_a_loop_that_is_woken_waits_no_longer(start: Callable[[Loop], Loop]) -> None:
    turns = Turns(LONG)
    loop = start(Loop("test", turns))
    until(lambda: turns.count)
    loop.wake()
    until(lambda: turns.count == 2)


def test_a_loop_that_is_woken_during_a_turn_takes_another_one(
    start: Callable[[Loop], Loop],
) -> None:
    began, may_end, turns = threading.Event(), threading.Event(), []

    def turn() -> float:
        began.set()
        may_end.wait(60)
        turns.append(1)
        return LONG

    loop = start(Loop("test", turn))
    began.wait(60)
    loop.wake()
    may_end.set()
    until(lambda: len(turns) == 2)


@pytest.mark.parametrize(
    "error", [ValueError("a defect"), OperationalError("SELECT 1", None, OSError("gone"))]
)
def test_a_loop_survives_whatever_a_turn_raises(
    start: Callable[[Loop], Loop], error: Exception
) -> None:
    turns: list[int] = []

    def turn() -> float:
        turns.append(1)
        if len(turns) < 3:
            raise error
        return LONG

    loop = start(Loop("test", turn))
    until(lambda: len(turns) == 3)
    assert not loop.stands_still()


def test_a_loop_that_was_stopped_takes_no_further_turn(start: Callable[[Loop], Loop]) -> None:
    turns = Turns(LONG)
    loop = start(Loop("test", turns))
    until(lambda: turns.count)
    loop.stop()
    assert loop.join(60)
    loop.wake()
    assert turns.count == 1


def test_a_loop_that_was_never_started_is_over(start: Callable[[Loop], Loop]) -> None:
    del start
    assert Loop("test", lambda: 0.0).join(0)


def test_a_loop_that_was_made_before_a_fork_lives_after_it() -> None:
    """Under `gunicorn --preload` the workers are forked from a process that has made them all."""
    assert subprocess.run([sys.executable, "-c", _FORKING], check=False).returncode == 0


def test_a_loop_in_an_endless_turn_stands_still(start: Callable[[Loop], Loop]) -> None:
    may_end = threading.Event()
    loop = start(Loop("test", lambda: float(may_end.wait(60)), patience=0.01))
    until(loop.stands_still)
    may_end.set()


def test_a_loop_that_waits_for_its_next_turn_does_not_stand_still(
    start: Callable[[Loop], Loop],
) -> None:
    turns = Turns(LONG)
    loop = start(Loop("test", turns, patience=30.0))
    until(lambda: turns.count)
    assert not loop.stands_still()


def test_a_loop_whose_thread_is_gone_stands_still(start: Callable[[Loop], Loop]) -> None:
    loop = start(Loop("test", lambda: LONG))
    loop.stop()
    loop.join(60)
    assert loop.stands_still()
