"""The ledger: what it costs to note that a delivery is under way, and to forget it again."""

from __future__ import annotations

import time

from benchmarks import latency
from benchmarks.figures import Report
from benchmarks.provider import Provider
from benchmarks.workspace import Workspace
from service.dispatch.sending.ledger import Key, Ledger

GROUP = "The ledger of what is under way"
COST = "noting a delivery and forgetting it"
SHARE = "the same, of the processor time of a delivery without latency"

_PLACES = 1_024
_AT_ONCE = 500
_ROUNDS, _TURNS = 20, 40


def measure(workspace: Workspace, _provider: Provider, report: Report, *, quick: bool) -> None:
    """Measure in this process, with a file like a dispatcher's."""
    ledger = Ledger(workspace.new_folder(), _PLACES)
    ledger.open("6b0bafad49ae12dc4e0cd45f")
    claimed = [(f"{number:024x}", 1_796_000_000_000) for number in range(_AT_ONCE)]
    # The fastest round: what takes longer is somebody else's work.
    cost = min(_round(ledger, claimed) for _ in range(_ROUNDS // (2 if quick else 1)))
    ledger.close(all_written=True)
    report.add(GROUP, COST, cost, "µs")
    if whole := report.value(latency.GROUP, latency.AT_ONCE):
        report.add(GROUP, SHARE, cost / whole, "times", most=0.05)


def _round(ledger: Ledger, claimed: list[Key]) -> float:
    """Return the microseconds that each delivery takes."""
    began = time.perf_counter()
    for _ in range(_TURNS):
        for each in claimed:
            ledger.mark(each)
        ledger.erase(claimed)
    return (time.perf_counter() - began) / (_TURNS * len(claimed)) * 1e6
