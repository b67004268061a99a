"""Allowances: exact across the threads, processes and machines that share them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from service.config import Settings
from service.core import rate_table, shared_rates
from service.core.allowances import Allowances
from service.core.rate_table import RateTable, Slot
from service.core.rates import SECOND, DrawResult, Rate
from service.database import Database
from service.models import SharedRate
from tests import taking
from tests.conftest import on_postgres, on_sqlite
from tests.programs import FORKS

RATE = Rate(burst=5, interval=SECOND)
NOW = 10**12
PROCESSES = 4


def granted(
    paths: Sequence[Path], settings: Settings, bursts: Sequence[int], attempts: int
) -> list[int]:
    """Return what real processes are granted that take at the same time, for each burst."""
    pipes, processes = [], []
    for path in paths:
        ours, theirs = FORKS.Pipe()
        arguments = (theirs, path, settings.database_url, attempts, NOW)
        process = FORKS.Process(target=taking.take, args=arguments)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * len(pipes)
    sums = []
    for burst in bursts:
        for pipe in pipes:
            pipe.send(burst)
        sums.append(sum(pipe.recv() for pipe in pipes))
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(0)
        process.join()
        pipe.close()
    return sums


@on_sqlite
def test_exactly_the_limit_passes_in_four_processes_of_a_machine(
    settings: Settings, tmp_path: Path
) -> None:
    paths, bursts = [tmp_path / "rates" / "requests"] * PROCESSES, [1, 199]
    assert granted(paths, settings, bursts, 200 // PROCESSES) == bursts


@on_postgres
def test_exactly_the_limit_passes_on_four_machines_that_are_all_busy(
    settings: Settings, tmp_path: Path
) -> None:
    paths, bursts = [tmp_path / str(machine) / "requests" for machine in range(PROCESSES)], [1, 199]
    assert granted(paths, settings, bursts, 200) == bursts


def lender(database: Database, calls: list[int]) -> Callable[[str, Rate], DrawResult]:
    def lend(key: str, rate: Rate) -> DrawResult:
        with database.writing() as db:
            drawn = shared_rates.lend(db, key, rate, now=NOW)
        calls.append(drawn.granted)
        return drawn

    return lend


def test_most_events_ask_no_database_and_the_last_ones_do(
    database: Database, tmp_path: Path
) -> None:
    calls: list[int] = []
    allowances = Allowances(RateTable(tmp_path / "requests"), lender(database, calls))
    rate = Rate(2_000, SECOND)
    granted = [allowances.take("key", rate, now=NOW).is_granted for _ in range(2_010)]
    assert granted == [True] * 2_000 + [False] * 10
    assert calls[0] == shared_rates.LARGEST
    assert calls[-1] == 1
    assert len(calls) < 100
    assert sum(calls) == 2_000


def test_a_refusal_by_the_database_is_remembered_until_something_is_allowed(
    database: Database, tmp_path: Path
) -> None:
    calls: list[int] = []
    here, there = (
        Allowances(RateTable(tmp_path / name), lender(database, calls)) for name in ("a", "b")
    )
    for _ in range(RATE.burst):
        assert there.take("key", RATE, now=NOW).is_granted
    refusals = [here.take("key", RATE, now=NOW) for _ in range(100)]
    assert {each.is_granted for each in refusals} == {False}
    assert {each.wait for each in refusals} == {RATE.interval}
    assert len(calls) == RATE.burst + 1


def test_a_clock_of_the_database_that_is_set_back_closes_it_for_one_interval(
    database: Database,
) -> None:
    year = 365 * 86_400 * SECOND
    with database.writing() as db:
        assert shared_rates.lend(db, "key", RATE, now=NOW + year).granted == 1
        assert shared_rates.lend(db, "key", RATE, now=NOW).wait == RATE.interval
        assert shared_rates.lend(db, "key", RATE, now=NOW + RATE.interval).granted == 1


def test_a_table_with_times_that_cannot_be_closes_it_for_one_interval(tmp_path: Path) -> None:
    table = RateTable(tmp_path / "t")
    allowances = Allowances(table)
    assert allowances.take("a", RATE, now=10 * NOW).is_granted
    assert allowances.take("a", RATE, now=NOW).wait == RATE.interval
    assert allowances.take("a", RATE, now=NOW + RATE.interval).is_granted


def test_keys_do_not_share_and_a_look_takes_nothing(tmp_path: Path) -> None:
    allowances = Allowances(RateTable(tmp_path / "requests"))
    for _ in range(RATE.burst):
        assert allowances.look("a", RATE, now=NOW).left > 0
        assert allowances.take("a", RATE, now=NOW).is_granted
    assert allowances.look("a", RATE, now=NOW).left == 0
    assert not allowances.take("a", RATE, now=NOW).is_granted
    assert allowances.take("b", RATE, now=NOW).left == RATE.burst - 1


def test_a_table_survives_its_process_but_not_the_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(RATE.burst):
        assert Allowances(RateTable(tmp_path / "t")).take("a", RATE, now=NOW).is_granted
    assert not Allowances(RateTable(tmp_path / "t")).take("a", RATE, now=NOW).is_granted
    monkeypatch.setattr(rate_table, "_BOOT_ID", tmp_path / "none")
    assert Allowances(RateTable(tmp_path / "t")).take("a", RATE, now=NOW - 1).is_granted


def test_a_stranger_with_many_addresses_takes_the_places_of_unused_keys_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_table, "_BUCKETS", 1)
    table = RateTable(tmp_path / "t")
    for number, key in enumerate("abcdefgh"):
        table.change(key, lambda _, at=number: (Slot(spent_until=NOW + at), None))  # type: ignore[misc]
    table.change("i", lambda slot: (Slot(spent_until=NOW + 9), slot))
    assert table.change("a", lambda slot: (slot, slot)) == Slot()
    assert table.change("h", lambda slot: (slot, slot)) == Slot(spent_until=NOW + 7)


def test_a_process_that_was_stopped_with_the_lock_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "t"
    holding = (
        "import fcntl, os, sys; file = os.open(sys.argv[1], os.O_RDWR);"
        "fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    allowances = Allowances(RateTable(path))
    for _ in range(RATE.burst):
        assert allowances.take("a", RATE, now=NOW).is_granted
    command = [sys.executable, "-c", holding, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        other.stdout.readline()
        assert allowances.take("a", RATE, now=NOW).is_granted
        other.stdin.close()
    assert not allowances.take("a", RATE, now=NOW).is_granted


def test_a_full_disk_limits_nothing(tmp_path: Path) -> None:
    (tmp_path / "rates").write_text("no folder")
    allowances = Allowances(RateTable(tmp_path / "rates" / "t"))
    granted = [allowances.take("a", RATE, now=NOW).is_granted for _ in range(2 * RATE.burst)]
    assert granted == [True] * len(granted)


def test_keys_that_nobody_uses_any_more_are_deleted(database: Database) -> None:
    with database.writing() as db:
        shared_rates.lend(db, "old", RATE, now=NOW)
        shared_rates.lend(db, "new", RATE, now=NOW + RATE.window)
    with database.writing() as db:
        shared_rates.lend(db, "newer", RATE, now=NOW + RATE.window + 1)
        assert set(db.scalars(select(SharedRate.key))) == {"new", "newer"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_of_a_fork_does_not_share_the_lock_of_its_parent(tmp_path: Path) -> None:
    table = RateTable(tmp_path / "t")

    def inside(slot: Slot) -> tuple[Slot, int]:
        child = os.fork()
        if not child:
            status = 0 if _is_locked(table) else 1
            os._exit(status)
        return slot, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert table.change("a", inside) == 0


def _is_locked(table: RateTable) -> bool:
    try:
        rate_table._lock(table._file)  # type: ignore[arg-type]  # noqa: SLF001
    except TimeoutError:
        return True
    return False
