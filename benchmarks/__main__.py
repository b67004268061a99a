"""`make bench`: measure everything side by side, and print the table.

    python -m benchmarks [--quick] [--only NAME]... [--save FOLDER]

What has to hold are ratios within the run; absolute numbers are the machine's. A whole run takes
about twelve minutes on two cores, a quick one about seven. Only a whole run of everything writes
`docs/benchmarks.json`, the picture and docs/numbers.md by itself.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import (
    large,
    latency,
    ledgers,
    limits,
    neighbours,
    personal,
    pickup,
    pressure,
    provider,
    results,
    returning,
    task_queues,
    throughput,
)
from benchmarks.figures import Report
from benchmarks.provider import Provider
from benchmarks.workspace import ROOT, BenchmarkError, Workspace

DOCS = ROOT / "docs"

_MEASURES: dict[str, Callable[..., None]] = {
    "throughput": throughput.measure,
    "personal": personal.measure,
    "latency": latency.measure,
    "ledger": ledgers.measure,
    "neighbours": neighbours.measure,
    "large": large.measure,
    "pressure": pressure.measure,
    "pickup": pickup.measure,
    "returning": returning.measure,
}
_AT_FULL_SPEED = ("throughput", "personal", "pressure")
"""What a stub of our own would be the limit of."""


def main() -> int:
    """Run; return 0 if everything asked for was measured, whatever it came to."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    limits.as_usual()
    began, report = time.monotonic(), Report()
    machine = results.machine()
    print(f"Crier's benchmarks on {machine.describe()}\n{missing()}", flush=True)
    try:
        with ExitStack() as stack:
            workspace = Workspace(stack)
            stub = stack.enter_context(provider.serving(workspace))
            complete = _measure_all(workspace, stub, report, options)
    except KeyboardInterrupt:
        print("\nBroken off; everything that was started is stopped.")
        return 130
    minutes = (time.monotonic() - began) / 60
    print(results.table(report, machine, minutes))
    is_whole = not options.quick and set(options.only) == set(_MEASURES)
    folder = options.save or (DOCS if is_whole else None)
    if folder:
        command = "python -m benchmarks --quick" if options.quick else "make bench"
        results.write(folder, report, machine, minutes, command)
    if folder == DOCS:
        results.write_numbers(folder)
    return 0 if complete else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer; seven minutes")
    parser.add_argument(
        "--only", action="append", choices=_MEASURES, help="measure this alone; may be repeated"
    )
    parser.add_argument("--save", type=Path, help="where to write the result and the picture")
    options = parser.parse_args()
    options.only = options.only or list(_MEASURES)
    return options


def missing() -> str:
    """Say in one line what to install, and what is left out without it; empty: nothing."""
    packages = provider.missing() + task_queues.missing()
    if not packages:
        return ""
    left_out = [*_AT_FULL_SPEED, "endurance"] if provider.PACKAGES["nginx"] in packages else []
    left_out += ["Celery", "Dramatiq"] if task_queues.PACKAGE in packages else []
    without = f"; left out without: {', '.join(left_out)}" if left_out else ""
    return f"For the whole table: apt-get install {' '.join(packages)}{without}\n"


def _measure_all(
    workspace: Workspace, stub: Provider, report: Report, options: argparse.Namespace
) -> bool:
    """Take one measurement after the other; tell whether none of them broke."""
    complete = True
    for name, measure in _MEASURES.items():
        if name not in options.only:
            continue
        if name in _AT_FULL_SPEED and not stub.is_fast:
            report.skip(name, "all of it", "nginx is not installed")
            continue
        began = time.monotonic()
        print(f"{name}:", flush=True)
        try:
            measure(workspace, stub, report, quick=options.quick)
        except BenchmarkError as error:
            complete = False
            report.skip(name, "the rest of it", f"broken: {error}")
        print(f"  ({time.monotonic() - began:.0f} s)\n", flush=True)
    return complete


if __name__ == "__main__":
    sys.exit(main())
