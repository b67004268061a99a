"""The API while the dispatcher works at full speed, and what the dispatcher reaches beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue
from typing import NamedTuple

from benchmarks import crier, usage
from benchmarks.api import Api, order
from benchmarks.crier import Crier
from benchmarks.figures import Report, percentile
from benchmarks.message import FIRST_NUMBER, TEXT
from benchmarks.provider import Provider
from benchmarks.workspace import Workspace

GROUP = "API while dispatching at full speed: 50 POST/s of 100 recipients, 10 GET/s"
BESIDE = "Deliveries a second beside these requests, with a backlog"
OWN = "Postgres, a dispatcher of its own"
WORKER = "Postgres, beside the web worker"
SHARE = "Postgres, beside the web worker, of a dispatcher of its own"
THREADS = "threads of a web worker, and of the dispatcher beside it, at all defaults"

_POSTS, _GETS = 50, 10
_RECIPIENTS = 100
_CLIENTS = 24
"""Connections: enough that none of them delays a request that is due."""

_HELD = 0.001
"""A rate at which nothing is sent for the time of a measurement."""

Job = tuple[float, str, bytes | None]
Taken = tuple[str, int, float]


class _Place(NamedTuple):
    """A database, and who sends: a dispatcher of its own, or the web worker."""

    name: str
    database: str
    is_own: bool


_PLACES = (
    _Place(OWN, "Postgres", is_own=True),
    _Place(WORKER, "Postgres", is_own=False),
    _Place("SQLite, beside the web worker", "SQLite", is_own=False),
)


def measure(workspace: Workspace, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure with a dispatcher of its own on Postgres, and beside the worker on both."""
    seconds = 6 if quick else 15
    for place in _PLACES:
        with crier.installed(workspace, place.database, provider.url(), _HELD) as service:
            _measure(workspace, service, place, seconds, report)
    own, worker = (report.value(BESIDE, name) for name in (OWN, WORKER))
    if own and worker:
        report.add(BESIDE, SHARE, worker / own, "times", least=0.5)


def _measure(
    workspace: Workspace, service: Crier, place: _Place, seconds: int, report: Report
) -> None:
    backlog = service.accept(30_000 * seconds)
    with _running(workspace, service, is_own=place.is_own) as (port, worker):
        idle = _ask(service, port, backlog, seconds / 2)
        service.release_sessions()
        service.resume(backlog)
        time.sleep(2.0)
        sent, began = service.sent(), time.perf_counter()
        busy = _ask(service, port, backlog, seconds)
        reached = (service.sent() - sent) / (time.perf_counter() - began)
        beside = usage.children(worker)
        threads = max(map(usage.threads, (worker, *beside)))
    _report(report, place.name, idle, busy)
    report.add(BESIDE, place.name, reached, "/s")
    if place.name == WORKER:
        report.add(BESIDE, THREADS, float(threads), "", most=24)


@contextmanager
def _running(workspace: Workspace, service: Crier, *, is_own: bool) -> Iterator[tuple[int, int]]:
    with ExitStack() as stack:
        settings = {"DISPATCH": "off" if is_own else "threads"}
        place = stack.enter_context(service.serving(workspace, **settings))
        if is_own:
            stack.enter_context(service.dispatching(workspace))
        time.sleep(1.0)
        yield place


def _ask(service: Crier, port: int, backlog: str, seconds: float) -> list[Taken]:
    """Send requests at their moments, answered or not; return what became of each."""
    jobs: SimpleQueue[Job] = SimpleQueue()
    for job in sorted(_jobs(time.perf_counter() + 0.5, backlog, seconds)):
        jobs.put(job)
    taken: list[Taken] = []
    clients = [
        threading.Thread(target=_work, args=(Api(port, service.token), jobs, taken))
        for _ in range(_CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return taken


def _jobs(start: float, backlog: str, seconds: float) -> Iterator[Job]:
    for number in range(int(_POSTS * seconds)):
        first = FIRST_NUMBER + 5_000_000 + number * _RECIPIENTS
        yield start + number / _POSTS, "POST", order(first, _RECIPIENTS, TEXT)
    for number in range(int(_GETS * seconds)):
        yield start + (number + 0.5) / _GETS, f"/broadcast/{backlog}", None


def _work(api: Api, jobs: SimpleQueue[Job], taken: list[Taken]) -> None:
    """Take what is due next; the time counts from when it was due."""
    while True:
        try:
            due, path, body = jobs.get_nowait()
        except Empty:
            return
        time.sleep(max(0.0, due - time.perf_counter()))
        answer = api.get(path) if body is None else api.post("/broadcast", body)
        method = "GET" if body is None else "POST"
        taken.append((method, answer.status, (time.perf_counter() - due) * 1000))


def _report(report: Report, name: str, idle: list[Taken], busy: list[Taken]) -> None:
    for method in ("POST", "GET"):
        before, after = ([ms for each, _, ms in taken if each == method] for taken in (idle, busy))
        rest, value = percentile(before, 99), percentile(after, 99)
        note = f"p50 {percentile(after, 50):.0f} ms; idle {percentile(before, 50):.0f} ms"
        report.add(GROUP, f"{name}: {method} p99", value, "ms", note=note)
        heading = f"{name}: {method} p99, against idle"
        report.add(GROUP, heading, value / rest, "times", most=6.0, note=f"idle {rest:.0f} ms")
    refused = sum(status >= 400 for _, status, _ in (*idle, *busy))  # noqa: PLR2004 - HTTP's errors
    report.add(GROUP, f"{name}: answers of 4xx and 5xx", float(refused), "", most=0.0)
