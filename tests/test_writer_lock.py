"""The lock of SQLite's one writer: several objects stand for several processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service import file_locks
from service.writer_lock import WriterLock
from tests.waiting import LIMIT, until


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def is_locked(path: Path) -> bool:
    with path.open("a") as file:
        return not file_locks.take(file)


def test_the_process_that_waits_comes_before_those_that_ask_later(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    busy, waiting, late = (WriterLock(tmp_path / "crier.db") for _ in range(3))
    order: list[WriterLock] = []

    def write(lock: WriterLock) -> None:
        with lock.held(LIMIT):
            order.append(lock)

    with busy.held(LIMIT):
        writes = [pool.submit(write, waiting)]
        until(lambda: is_locked(tmp_path / "crier.db-next"))
        writes += [pool.submit(write, lock) for lock in (late, busy)]
    for each in writes:
        each.result(LIMIT)
    assert order[0] is waiting
    assert len(order) == 3


def test_who_waits_too_long_is_told_so_and_leaves_the_others_their_turn(tmp_path: Path) -> None:
    busy, waiting = (WriterLock(tmp_path / "crier.db") for _ in range(2))
    with busy.held(LIMIT):
        for lock in (waiting, waiting, busy):
            with pytest.raises(PoolTimeoutError, match="Other writers"), lock.held(0.01):
                pass
    with waiting.held(LIMIT):
        pass


def test_the_time_spent_waiting_is_no_longer_left(tmp_path: Path) -> None:
    with WriterLock(tmp_path / "crier.db").held(LIMIT) as left:
        assert 0 < left <= LIMIT


def test_a_folder_in_which_nothing_can_be_written_is_left_to_sqlite(tmp_path: Path) -> None:
    with WriterLock(tmp_path / "missing" / "crier.db").held(LIMIT):
        pass
