"""A short run of chaos: what was accepted is accounted for, whoever is killed."""

from __future__ import annotations

import pytest

from chaos.plan import Plan
from chaos.report import Report
from chaos.run import run


def test_processes_killed_and_frozen_and_clocks_that_are_set_lose_nobody_on_sqlite() -> None:
    report = run(_plan("sqlite", kill=(1.0, 1.4), stop=(0.4, 0.8), clock=(0.2, 0.4)))
    _assert_that_the_promise_was_kept(report)


@pytest.mark.usefixtures("quick_starts")
def test_a_postgres_that_crashes_or_is_silent_or_migrated_loses_nobody() -> None:
    faults = {
        "cut": (0.5, 0.9),
        "postgres": (1.0, 1.5),
        "silent": (0.8, 1.2),
        "migrate": (0.3, 0.6),
    }
    report = run(_plan("postgres", kill=(1.0, 1.4), **faults))
    _assert_that_the_promise_was_kept(report)
    assert not report.migrations.given_up, report.migrations


def _plan(database: str, **faults: tuple[float, float]) -> Plan:
    return Plan(
        database=database,
        seconds=3.0,
        deliveries=1_000,
        faults=faults,
        away=(0.3, 0.8),
        step=(0.2, 0.5),
        wrong=(0.2, 0.4),
        lease=1.5,
        sweep_interval=0.5,
        grace=2.0,
        workers=1,
        dispatchers=1,
        patience=60.0,
    )


def _assert_that_the_promise_was_kept(report: Report) -> None:
    shown = "\n".join(report.lines())
    assert not report.faults_of_service, shown
    assert not report.failures, shown
    assert not report.server_errors, shown
    assert all(report.faults[name] for name in report.plan.faults), shown
    assert sum(tally.accepted for tally in report.audit.tallies.values()) == 1_000, shown
