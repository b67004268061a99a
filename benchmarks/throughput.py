"""Durable deliveries a second: the service beside what people write in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks import crier, usual
from benchmarks.crier import Crier
from benchmarks.figures import Report, median
from benchmarks.ground import PYTHON, BenchmarkError, Ground
from benchmarks.provider import Provider
from benchmarks.rates import rate
from benchmarks.usual import CELERY, DRAMATIQ

GROUP = "Durable deliveries a second, provider without latency"
LIMIT = "hand-written loop of claim, curl and flush, Postgres, 1 process"
SERVICE = "Crier, Postgres, 1 process"
BARE = "pycurl alone, no database"

_UNIT = "/s"
_PATIENCE = 300.0


class Contender(NamedTuple):
    """One way of delivering; `measure` returns deliveries a second for a number of them."""

    name: str
    measure: Callable[[int], float]
    share: float = 1.0


def measure(ground: Ground, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure all contenders in turns, so that each meets the same moods of the machine."""
    rounds, total = (1, 30_000) if quick else (5, 60_000)
    contenders = list(_contenders(ground, provider))
    runs: dict[str, list[float]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        for each in contenders:
            runs[each.name].append(each.measure(int(total * each.share)))
    for each in contenders:
        least = 10_000 if each.name == SERVICE else None
        taken = runs[each.name]
        report.add(GROUP, each.name, median(taken), _UNIT, runs=taken, least=least)
    with usual.running(ground, provider) as ways:
        for name in (CELERY, DRAMATIQ):
            if name not in ways:
                report.skip(GROUP, name, usual.why_not())
                continue
            taken = [ways[name](total // 20) for _ in range(min(rounds, 2))]
            report.add(GROUP, name, median(taken), _UNIT, runs=taken)
    _compare(report)


def _compare(report: Report) -> None:
    service = report.value(GROUP, SERVICE)
    for name, least in ((LIMIT, 0.9), (CELERY, 20.0), (DRAMATIQ, 12.0), (BARE, None)):
        other = report.value(GROUP, name)
        if service and other:
            ratio = service / other
            report.add("Crier, Postgres, 1 process, against", name, ratio, "times", least=least)


def _contenders(ground: Ground, provider: Provider) -> Iterator[Contender]:
    """Return the service and its limits, next to each other what is compared."""
    for processes in (1, 2):
        plural = "process" if processes == 1 else "processes"
        for kind in crier.DATABASES:
            name = f"Crier, {kind}, {processes} {plural}"
            yield Contender(name, _service(ground, provider, kind, processes), processes**0.5)
            if kind == "Postgres":
                name = f"hand-written loop of claim, curl and flush, Postgres, {processes} {plural}"
                yield Contender(name, _by_hand(ground, provider, processes), processes**0.5)
    yield Contender(BARE, _bare(ground, provider), 2.0)


def _service(
    ground: Ground, provider: Provider, kind: str, processes: int
) -> Callable[[int], float]:
    def measured(total: int) -> float:
        with crier.installed(ground, kind, provider.url()) as service:
            broadcast_id = service.accept(total)
            with service.dispatching(ground, processes):
                service.resume(broadcast_id)
                return rate(lambda: _sent(service, broadcast_id), total)

    return measured


def _by_hand(ground: Ground, provider: Provider, processes: int) -> Callable[[int], float]:
    def measured(total: int) -> float:
        with crier.installed(ground, "Postgres", provider.url()) as service:
            broadcast_id = service.accept(total)
            url = service.settings.database_url.replace("+psycopg", "")
            command = [PYTHON, "-m", "benchmarks.byhand", url, broadcast_id, provider.url()]
            with _together(ground, command, processes):
                return rate(lambda: _sent(service, broadcast_id), total)

    return measured


def _bare(ground: Ground, provider: Provider) -> Callable[[int], float]:
    def measured(total: int) -> float:
        command = [PYTHON, "-m", "benchmarks.bare", provider.url(), str(total)]
        with ground.process("bare", command) as process:
            process.wait(_PATIENCE)
        return float(ground.said("bare"))

    return measured


@contextmanager
def _together(ground: Ground, command: list[str], processes: int) -> Iterator[None]:
    if not processes:
        yield
        return
    with ground.process("byhand", command), _together(ground, command, processes - 1):
        yield


def _sent(service: Crier, broadcast_id: str) -> int:
    sent, lost = service.ended(broadcast_id)
    if lost:
        raise BenchmarkError(f"{lost} deliveries did not end as sent.")
    return sent
