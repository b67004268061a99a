"""Picking up: how soon after a POST the provider is called when the service was idle."""

from __future__ import annotations

import time

from benchmarks import crier
from benchmarks.api import Api, order
from benchmarks.crier import Crier
from benchmarks.figures import Report, median, percentile
from benchmarks.message import FIRST_NUMBER, TEXT
from benchmarks.provider import Provider, noting
from benchmarks.stub import MessageLog
from benchmarks.workspace import Workspace, until

GROUP = "Idle service: from the start of a POST to the provider's first call"

_PAUSE = 0.15
"""Seconds of rest between two posts; no multiple of any interval of the service."""

_MOST = 3.0
"""Times the POST's own answer: both parts begin with what the answer takes."""


def measure(workspace: Workspace, _provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure with sending beside the web worker, and with a dispatcher of its own."""
    posts = 40 if quick else 100
    for kind in crier.DATABASES:
        with (
            noting(workspace.new_folder()) as (url, received),
            crier.installed(workspace, kind, url) as service,
        ):
            with service.serving(workspace) as (port, _):
                _measure(report, f"{kind}, beside the web worker", service, port, received, posts)
            web = service.serving(workspace, DISPATCH="off")
            with web as (port, _), service.dispatching(workspace):
                _measure(report, f"{kind}, a dispatcher of its own", service, port, received, posts)


def _measure(  # noqa: PLR0913, PLR0917 - what is asked, of whom, and where it is written down
    report: Report, name: str, service: Crier, port: int, received: MessageLog, posts: int
) -> None:
    """Post to an idle service; the first posts warm it up."""
    api = Api(port, service.token)
    answered, called = [], []
    for number in range(-5, posts):
        time.sleep(_PAUSE)
        before, began = len(received.moments()), time.monotonic()
        answer = api.post("/broadcast", order(FIRST_NUMBER + number, 1, TEXT))
        _await_call(received, before)
        if number >= 0:
            answered.append(answer.ms)
            called.append((received.moments()[before] - began) * 1000)
    api.close()
    middle, rest = median(called), median(answered)
    report.add(GROUP, f"{name}: p50", middle, "ms")
    report.add(GROUP, f"{name}: p99", percentile(called, 99), "ms")
    note = f"the answer takes {rest:.1f} ms"
    heading = f"{name}: p50, against the answer to the POST"
    report.add(GROUP, heading, middle / rest, "times", most=_MOST, note=note)


def _await_call(received: MessageLog, before: int) -> None:
    until(lambda: len(received.moments()) > before, "the provider's call")
