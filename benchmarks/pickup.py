"""Picking up: how soon after a POST the provider is called when the service was idle."""

from __future__ import annotations

import time

from benchmarks import crier
from benchmarks.api import Api, order
from benchmarks.crier import Crier
from benchmarks.figures import Report, median, percentile
from benchmarks.ground import Ground, until
from benchmarks.listener import Listener, listening
from benchmarks.message import FIRST_NUMBER, TEXT

GROUP = "Idle service: from the start of a POST to the provider's first call"

_PAUSE = 0.15
"""Seconds of rest between two posts; no multiple of any interval of the service."""


def measure(ground: Ground, report: Report, *, quick: bool) -> None:
    """Measure with threads in the web worker, and with a dispatcher of its own."""
    posts = 40 if quick else 100
    for kind in crier.DATABASES:
        with listening() as listener, crier.installed(ground, kind, listener.url) as service:
            with service.serving(ground) as (port, _):
                name = f"{kind}, threads in the web worker"
                _report(report, name, _times(service, port, listener, posts))
            if kind == "SQLite":
                continue
            web = service.serving(ground, DISPATCH="off")
            with web as (port, _), service.dispatching(ground):
                name = f"{kind}, a dispatcher of its own"
                _report(report, name, _times(service, port, listener, posts))


def _times(service: Crier, port: int, listener: Listener, posts: int) -> list[float]:
    """Return the milliseconds of each post; the first ones warm up."""
    api, taken = Api(port, service.token), []
    for number in range(-5, posts):
        time.sleep(_PAUSE)
        listener.calls.clear()
        began = time.perf_counter()
        api.post("/broadcast", order(FIRST_NUMBER + number, 1, TEXT))
        until(lambda: bool(listener.calls), "the provider's call")
        if number >= 0:
            taken.append((listener.calls[0] - began) * 1000)
    api.close()
    return taken


def _report(report: Report, name: str, taken: list[float]) -> None:
    report.add(GROUP, f"{name}: p50", median(taken), "ms", most=20.0)
    report.add(GROUP, f"{name}: p99", percentile(taken, 99), "ms", most=100.0)
