"""A provider that takes its time, as real ones do: what is under way at once, and what it costs."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks import crier, curl_loop, throughput, usage
from benchmarks.crier import Crier
from benchmarks.figures import Report
from benchmarks.provider import Provider
from benchmarks.rates import rate, wait_for
from benchmarks.workspace import Workspace
from service.config import Settings

GROUP = "A provider that takes its time, Postgres, 1 process"
DEFAULTS = "200 ms, all defaults"
OF_DEFAULTS = f"{DEFAULTS}, of what is possible"
MANY = "1 s, IN_FLIGHT=4096"
OF_MANY = f"{MANY}, of what is possible"
BY_HAND = "1 s, 4,096 under way, hand-written loop"
AT_ONCE = "processor time of a delivery, provider without latency"
PROCESSOR = "processor time of a delivery, 200 ms against at once"
PROCESSOR_BY_HAND = f"{PROCESSOR}, hand-written loop"
MEMORY = "memory of a message under way, 1 s, IN_FLIGHT=4096"
THREADS = "threads of the dispatcher at all defaults"

_DEFAULT = Settings().in_flight
_MANY = 4_096
_STEADY = (0.2, 0.9)
"""The part in which all are under way: neither the first wave nor the last."""


class _Run(NamedTuple):
    """What a dispatcher reached, and what it took: µs of each, bytes over idle, threads."""

    reached: float
    processor: float
    memory: float
    threads: int


def measure(workspace: Workspace, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure at all defaults against 200 ms and none, and with thousands under way."""
    seconds = 5 if quick else 10
    _at_defaults(workspace, provider, report, seconds)
    _with_many(workspace, provider, report, seconds)


def _at_defaults(workspace: Workspace, provider: Provider, report: Report, seconds: int) -> None:
    most = _DEFAULT / 0.2
    slow = _run(workspace, provider.url("200ms"), int(most * seconds))
    note = f"{slow.reached / most:.0%} of {_DEFAULT} ÷ 0.2 s"
    report.add(GROUP, DEFAULTS, slow.reached, "/s", note=note)
    report.add(GROUP, OF_DEFAULTS, slow.reached / most, "times", least=0.9)
    report.add(GROUP, THREADS, float(slow.threads), "", most=24)
    fast = _run(workspace, provider.url(), 8_000 * seconds)
    report.add(GROUP, AT_ONCE, fast.processor, "µs")
    note = f"{slow.processor:.0f} µs against {fast.processor:.0f} µs"
    report.add(GROUP, PROCESSOR, slow.processor / fast.processor, "times", most=1.6, note=note)
    slow_loop = _loop(workspace, provider.url("200ms"), int(most * seconds), _DEFAULT)
    fast_loop = _loop(workspace, provider.url(), 8_000 * seconds, curl_loop.UNDER_WAY)
    note = f"{slow_loop:.0f} µs against {fast_loop:.0f} µs"
    report.add(GROUP, PROCESSOR_BY_HAND, slow_loop / fast_loop, "times", note=note)


def _with_many(workspace: Workspace, provider: Provider, report: Report, seconds: int) -> None:
    url, total = provider.url("1000ms"), _MANY * seconds
    many = _run(workspace, url, total, IN_FLIGHT=str(_MANY))
    by_hand = throughput.by_hand(workspace, url, total, under_way=_MANY, part=_STEADY)
    report.add(GROUP, MANY, many.reached, "/s")
    report.add(GROUP, BY_HAND, by_hand, "/s")
    possible = min(float(_MANY), by_hand)
    report.add(GROUP, OF_MANY, many.reached / possible, "times", least=0.85)
    report.add(GROUP, MEMORY, many.memory / _MANY / 1024, "KB", most=64)


def _loop(workspace: Workspace, url: str, total: int, under_way: int) -> float:
    """Return the microseconds of processor time that the hand-written loop takes for each."""
    with crier.installed(workspace, "Postgres", url) as service:
        broadcast_id = service.accept(total)
        with throughput.looping(workspace, service, broadcast_id, url, under_way) as process:
            return _steady(service, broadcast_id, process.pid, total)[1]


def _run(workspace: Workspace, url: str, total: int, **settings: str) -> _Run:
    """Dispatch, and look at the dispatcher while all that may be is under way."""
    with crier.installed(workspace, "Postgres", url) as service:
        broadcast_id = service.accept(total)
        with service.dispatching(workspace, 1, **settings) as (process,):
            idle = usage.memory(process.pid)
            service.resume(broadcast_id)
            reached, processor = _steady(service, broadcast_id, process.pid, total)
            memory = (usage.peak(process.pid) - idle) * 1e6
            return _Run(reached, processor, memory, usage.threads(process.pid))


def _steady(service: Crier, broadcast_id: str, pid: int, total: int) -> tuple[float, float]:
    """Return what is sent a second in the steady part, and the processor µs of each."""

    def sent() -> int:
        return service.ended(broadcast_id)[0]

    wait_for(sent, int(total * _STEADY[0]))
    used, began = usage.processor(pid), sent()
    reached = rate(sent, total, part=_STEADY)
    return reached, (usage.processor(pid) - used) / (sent() - began) * 1e6
