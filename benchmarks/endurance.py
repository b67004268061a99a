"""A million deliveries in one go: whether the last tenth still goes as the first one did."""

from __future__ import annotations

import time
from typing import NamedTuple

import psycopg

from benchmarks import usage
from benchmarks.crier import Crier
from benchmarks.figures import Report
from benchmarks.rates import wait_for
from benchmarks.task_queues import plain
from benchmarks.workspace import Workspace

GROUP = "{:,} deliveries in one go, Postgres, 1 process"
ALL = "all of them"
CLAIM = "time of a claim, last tenth against first"
MEMORY = "memory of the dispatcher over idle, at most"

_CLAIMS = """
    SELECT sum(rows), sum(total_exec_time) FROM pg_stat_statements
    WHERE query LIKE '%SKIP LOCKED%' AND query LIKE '%UPDATE deliveries%'
        AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class _Mark(NamedTuple):
    """A moment on the way: the clock, and what was claimed so far with the time it took."""

    at: float
    claimed: float
    ms: float


def measure(
    workspace: Workspace, service: Crier, broadcast_id: str, total: int, report: Report
) -> None:
    """Dispatch a broadcast whose rows exist, and compare the tenths."""
    heading, url = GROUP.format(total), plain(service.settings.database_url)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        service.release_sessions()
        service.hold_all()
        with service.dispatching(workspace) as (process,):
            time.sleep(1.0)
            idle = usage.memory(process.pid)
            service.resume(broadcast_id)
            marks = [_mark(db, service, broadcast_id, total * tenth // 10) for tenth in range(11)]
            peak = usage.peak(process.pid) - idle
    first, last = _claim_time(marks[0], marks[1]), _claim_time(marks[-2], marks[-1])
    note = f"{first:.1f} ms for 500 in the first tenth, {last:.1f} ms in the last"
    report.add(heading, CLAIM, last / first, "times", most=2.0, note=note)
    report.add(heading, ALL, total / (marks[-1].at - marks[0].at), "/s")
    report.add(heading, "the first tenth", _rate(marks[0], marks[1], total), "/s")
    report.add(heading, "the last tenth", _rate(marks[-2], marks[-1], total), "/s")
    report.add(heading, MEMORY, peak, "MB")


def _mark(db: psycopg.Connection, service: Crier, broadcast_id: str, count: int) -> _Mark:
    wait_for(lambda: service.ended(broadcast_id)[0], max(1, count))
    claimed, ms = db.execute(_CLAIMS).fetchone() or (0, 0.0)
    return _Mark(time.perf_counter(), float(claimed or 0), float(ms or 0.0))


def _claim_time(start: _Mark, end: _Mark) -> float:
    """Return the milliseconds that Postgres took for each 500 that were claimed."""
    return (end.ms - start.ms) / max(1.0, end.claimed - start.claimed) * 500


def _rate(start: _Mark, end: _Mark, total: int) -> float:
    return total / 10 / (end.at - start.at)
