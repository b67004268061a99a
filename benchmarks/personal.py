"""A message for each: how fast a broadcast with three variables is sent, against one without."""

from __future__ import annotations

from benchmarks import crier, throughput
from benchmarks.figures import Report, median
from benchmarks.message import TEXT
from benchmarks.provider import Provider
from benchmarks.workspace import Workspace

GROUP = "A text with three variables of each recipient, against one without"

_TEXT = f"Hello {{{{first}}}} {{{{last}}}} from {{{{city}}}}. {TEXT}"
_LEAST = 0.7


def measure(workspace: Workspace, provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure both in turns, so that each meets the same moods of the machine."""
    rounds, total = 3, 20_000 if quick else 40_000
    for kind in crier.DATABASES:
        runs = [_ratio(workspace, provider, kind, total) for _ in range(rounds)]
        report.add(GROUP, kind, median(runs), "times", runs=runs, least=_LEAST)


def _ratio(workspace: Workspace, provider: Provider, kind: str, total: int) -> float:
    plain, personal = (
        throughput.of_service(workspace, provider, kind, 1, text)(total) for text in (TEXT, _TEXT)
    )
    return personal / plain
