"""The API while the dispatcher works at full speed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue

from benchmarks import crier
from benchmarks.api import Api, order
from benchmarks.crier import Crier
from benchmarks.figures import Report, percentile
from benchmarks.ground import Ground
from benchmarks.message import FIRST_NUMBER, TEXT
from benchmarks.provider import Provider

GROUP = "API while dispatching at full speed: 50 POST/s of 100 recipients, 10 GET/s"

_POSTS, _GETS = 50, 10
_RECIPIENTS = 100
_CLIENTS = 24
"""Connections: enough that none of them delays a request that is due."""

Job = tuple[float, str, bytes | None]
Taken = tuple[str, int, float]


def measure(ground: Ground, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure with a dispatcher of its own on Postgres, and with threads in the worker on both."""
    seconds = 6 if quick else 15
    for kind, own in (("Postgres", True), ("Postgres", False), ("SQLite", False)):
        place = "a dispatcher of its own" if own else "threads in the web worker"
        with crier.installed(ground, kind, provider.url()) as service:
            backlog = service.accept(30_000 * seconds)
            with _running(ground, service, own=own) as port:
                time.sleep(1.0)
                service.resume(backlog)
                time.sleep(1.0)
                sent = service.sent()
                taken = _ask(service, port, backlog, seconds)
                sent = service.sent() - sent
        _report(report, f"{kind}, {place}", taken, sent / seconds)


@contextmanager
def _running(ground: Ground, service: Crier, *, own: bool) -> Iterator[int]:
    with ExitStack() as stack:
        settings = {"DISPATCH": "off" if own else "threads"}
        port, _ = stack.enter_context(service.serving(ground, **settings))
        if own:
            stack.enter_context(service.dispatching(ground))
        yield port


def _ask(service: Crier, port: int, backlog: str, seconds: int) -> list[Taken]:
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


def _jobs(start: float, backlog: str, seconds: int) -> Iterator[Job]:
    for number in range(_POSTS * seconds):
        first = FIRST_NUMBER + 5_000_000 + number * _RECIPIENTS
        yield start + number / _POSTS, "POST", order(first, _RECIPIENTS, TEXT)
    for number in range(_GETS * seconds):
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


def _report(report: Report, name: str, taken: list[Taken], dispatched: float) -> None:
    for method in ("POST", "GET"):
        times = [ms for each, _, ms in taken if each == method]
        note = f"p50 {percentile(times, 50):.0f} ms, {dispatched:,.0f} deliveries/s beside it"
        value = percentile(times, 99)
        report.add(GROUP, f"{name}: {method} p99", value, "ms", most=300.0, note=note)
    refused = sum(status >= 400 for _, status, _ in taken)  # noqa: PLR2004 - HTTP's errors
    report.add(GROUP, f"{name}: answers of 4xx and 5xx", float(refused), "", most=0.0)
