"""Taking in: how soon a broadcast is answered and all its rows exist, and what memory it takes."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from benchmarks import usage
from benchmarks.api import Api, order
from benchmarks.crier import Crier
from benchmarks.figures import Report
from benchmarks.message import FIRST_NUMBER, TEXT
from benchmarks.workspace import BenchmarkError, until


class _Limits(NamedTuple):
    """What is asked of one size: times what reading its body takes, bytes for each recipient."""

    answer: float | None = None
    memory: float | None = None


_SIZES = {
    1_000: _Limits(),
    10_000: _Limits(),
    100_000: _Limits(20.0),
    1_000_000: _Limits(20.0, 400.0),
}


def group(kind: str) -> str:
    """Return the heading of these figures for a database."""
    return f"POST /broadcast, {kind}, one gunicorn worker"


def measure(service: Crier, kind: str, port: int, worker: int, report: Report) -> dict[int, str]:
    """Post broadcasts of all sizes; return their ids by size.

    The session's rate is next to nothing, so that the rows stay as they are for what follows.
    """
    api = Api(port, service.token)
    _warm_up(api)
    idle = usage.memory(worker)
    return {
        size: _take_in(service, kind, api, worker, idle, size, limits, report)
        for size, limits in _SIZES.items()
    }


def _warm_up(api: Api) -> None:
    for number in range(5):
        api.post("/broadcast", order(FIRST_NUMBER + number, 10, TEXT))
        api.get("/broadcast")
    time.sleep(1.0)


def _take_in(  # noqa: PLR0913, PLR0917 - what is asked, of whom, and where it is written down
    service: Crier,
    kind: str,
    api: Api,
    worker: int,
    idle: float,
    size: int,
    limits: _Limits,
    report: Report,
) -> str:
    body = order(FIRST_NUMBER + 10_000, size, TEXT)
    usage.forget_peak(worker)
    answer = api.post("/broadcast", body)
    answered = time.perf_counter()
    if answer.status != 201:  # noqa: PLR2004 - HTTP's Created
        raise BenchmarkError(f"POST of {size} recipients was answered by {answer.status}.")
    broadcast_id: str = answer.data["_id"]
    until(lambda: service.is_fanned_out(broadcast_id), "all rows")
    rows = time.perf_counter() - answered
    peak = usage.peak(worker) - idle
    heading, name = group(kind), f"{size:,} recipients"
    report.add(heading, f"{name}: answer", answer.ms / 1000, "s")
    report.add(heading, f"{name}: all rows, after the answer", rows, "s")
    report.add(heading, f"{name}: memory over idle, at most", peak, "MB")
    if limits.answer:
        ratio = answer.ms / 1000 / _reading(body)
        what = f"{name}: answer, against reading the body"
        report.add(heading, what, ratio, "times", most=limits.answer)
    if limits.memory:
        bytes_each = peak * 1e6 / size
        what = f"{name}: memory over idle for each"
        report.add(heading, what, bytes_each, "bytes", most=limits.memory)
    return broadcast_id


def _reading(body: bytes) -> float:
    """Return the seconds that the least takes: to read the JSON, and each recipient as a number."""
    began = time.perf_counter()
    sum(map(int, json.loads(body)["to"].split(",")))
    return time.perf_counter() - began
