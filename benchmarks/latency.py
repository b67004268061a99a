"""A provider that takes its time: many threads, each waiting for its answer."""

from __future__ import annotations

from benchmarks import crier
from benchmarks.figures import Report
from benchmarks.ground import Ground
from benchmarks.provider import DELAYS, HOW_TO_INSTALL, Provider
from benchmarks.rates import rate

GROUP = "Deliveries a second, provider with latency, Postgres, 1 process, 256 threads"

_THREADS = 256
_SECONDS = 10.0
_STEADY = (0.2, 0.9)
"""The part in which all threads are at work: neither the first wave nor the last."""


def measure(ground: Ground, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure what is reached of threads ÷ latency, for each latency."""
    for delay in DELAYS:
        name = f"provider of {delay} ms"
        if not provider.is_slow_able:
            report.skip(GROUP, name, f"nginx lacks the echo module; {HOW_TO_INSTALL}")
            continue
        most = _THREADS / (delay / 1000)
        reached = _reached(ground, provider, delay, int(most * _SECONDS / (2 if quick else 1)))
        note = f"{reached / most:.1%} of {most:,.0f}"
        report.add(GROUP, name, reached, "/s", least=0.95 * most, note=note)


def _reached(ground: Ground, provider: Provider, delay: int, total: int) -> float:
    with crier.installed(ground, "Postgres", provider.url(delay)) as service:
        broadcast_id = service.accept(total)
        with service.dispatching(ground, SENDER_THREADS=str(_THREADS)):
            service.resume(broadcast_id)
            return rate(lambda: service.ended(broadcast_id)[0], total, part=_STEADY)
