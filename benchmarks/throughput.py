"""Durable deliveries a second: the service beside what people write in its place."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

from benchmarks import crier, curl_loop, task_queues
from benchmarks.crier import Crier
from benchmarks.figures import Report, median
from benchmarks.message import TEXT
from benchmarks.provider import Provider
from benchmarks.rates import rate
from benchmarks.task_queues import CELERY, DRAMATIQ
from benchmarks.workspace import PYTHON, BenchmarkError, Workspace

GROUP = "Durable deliveries a second, provider without latency"
AGAINST = "Crier, Postgres, 1 process, against"
LIMIT = "hand-written loop on curl's multi handle, Postgres, 1 process"
SERVICE = "Crier, Postgres, 1 process"
BARE = "curl's multi handle alone, no database"

_UNIT = "/s"
_PATIENCE = 300.0


class Contender(NamedTuple):
    """One way of delivering; `measure` returns deliveries a second for a number of them."""

    name: str
    measure: Callable[[int], float]
    share: float = 1.0


def measure(workspace: Workspace, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure all contenders in turns, so that each meets the same moods of the machine."""
    rounds, total = 3, 30_000 if quick else 60_000
    contenders = list(_contenders(workspace, provider))
    runs: dict[str, list[float]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        for each in contenders:
            runs[each.name].append(each.measure(int(total * each.share)))
    with task_queues.running(workspace, provider) as ways:
        for name, way in ways.items():
            runs[name] = [way(total // 20) for _ in range(min(rounds, 2))]
    for name, taken in runs.items():
        report.add(GROUP, name, median(taken), _UNIT, runs=taken)
    _compare(report, runs)


def _compare(report: Report, runs: dict[str, list[float]]) -> None:
    """Set the service against the others: by the round where both had as many."""
    service = runs[SERVICE]
    for name, least in ((LIMIT, 0.85), (BARE, None), (CELERY, 20.0), (DRAMATIQ, 12.0)):
        others = runs.get(name)
        if others is None:
            report.skip(AGAINST, name, f"{task_queues.PACKAGE} is not installed")
            continue
        if len(others) != len(service):
            others = [median(others)] * len(service)
        ratios = [ours / theirs for ours, theirs in zip(service, others, strict=True)]
        report.add(AGAINST, name, median(ratios), "times", runs=ratios, least=least)


def _contenders(workspace: Workspace, provider: Provider) -> Iterator[Contender]:
    """Return the service and its limits, next to each other what is compared."""
    for processes in (1, 2):
        plural = "process" if processes == 1 else "processes"
        for kind in crier.DATABASES:
            name = f"Crier, {kind}, {processes} {plural}"
            yield Contender(name, of_service(workspace, provider, kind, processes), processes**0.5)
            if name == SERVICE:
                yield Contender(LIMIT, partial(by_hand, workspace, provider.url()))
    yield Contender(BARE, _bare(workspace, provider), 2.0)


def of_service(
    workspace: Workspace, provider: Provider, kind: str, processes: int, text: str = TEXT
) -> Callable[[int], float]:
    """Return what measures the deliveries a second of a text."""

    def measured(total: int) -> float:
        with crier.installed(workspace, kind, provider.url()) as service:
            broadcast_id = service.accept(total, text=text)
            with service.dispatching(workspace, processes):
                service.resume(broadcast_id)
                return rate(lambda: _sent(service, broadcast_id), total)

    return measured


def by_hand(
    workspace: Workspace,
    url: str,
    total: int,
    *,
    under_way: int = curl_loop.UNDER_WAY,
    part: tuple[float, float] = (0.0, 1.0),
) -> float:
    """Return what the hand-written loop reaches with so many messages under way."""
    with crier.installed(workspace, "Postgres", url) as service:
        broadcast_id = service.accept(total)
        with looping(workspace, service, broadcast_id, url, under_way):
            return rate(lambda: _sent(service, broadcast_id), total, part=part)


def looping(
    workspace: Workspace,
    service: Crier,
    broadcast_id: str,
    url: str,
    under_way: int = curl_loop.UNDER_WAY,
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run the hand-written loop on a broadcast, as a process of its own."""
    database = task_queues.plain(service.settings.database_url)
    arguments = [database, broadcast_id, url, str(under_way)]
    return workspace.process("handwritten", [PYTHON, "-m", "benchmarks.handwritten", *arguments])


def _bare(workspace: Workspace, provider: Provider) -> Callable[[int], float]:
    def measured(total: int) -> float:
        command = [PYTHON, "-m", "benchmarks.curl_loop", provider.url(), str(total)]
        with workspace.process("curl_loop", command) as process:
            process.wait(_PATIENCE)
        return float(workspace.said("curl_loop"))

    return measured


def _sent(service: Crier, broadcast_id: str) -> int:
    sent, lost = service.ended(broadcast_id)
    if lost:
        raise BenchmarkError(f"{lost} deliveries did not end as sent.")
    return sent
