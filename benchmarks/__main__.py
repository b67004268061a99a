"""`make bench`: measure everything side by side, and print the table.

    python -m benchmarks [--quick] [--only NAME]... [--save FOLDER]

A whole run takes about ten minutes on two cores, a quick one about three. Only a whole run of
everything writes `docs/benchmarks.json` and the picture by itself.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import large, latency, paper, pickup, pressure, throughput
from benchmarks.figures import Report
from benchmarks.ground import ROOT, BenchmarkError, Ground
from benchmarks.provider import HOW_TO_INSTALL, Provider, serving

DOCS = ROOT / "docs"

Measure = Callable[..., None]

_WITH_PROVIDER: dict[str, Measure] = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "large": large.measure,
    "pressure": pressure.measure,
}
_ALONE: dict[str, Measure] = {"pickup": pickup.measure}
_NAMES = (*_WITH_PROVIDER, *_ALONE)


def main() -> int:
    """Run; return 0 if everything asked for was measured, whatever it came to."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, report = time.monotonic(), Report()
    machine = paper.machine()
    print(f"Crier's benchmarks on {machine.describe()}\n", flush=True)
    try:
        with ExitStack() as stack:
            ground = Ground(stack)
            provider = stack.enter_context(serving(ground))
            complete = _measure_all(ground, provider, report, options)
    except KeyboardInterrupt:
        print("\nBroken off; everything that was started is stopped.")
        return 130
    minutes = (time.monotonic() - began) / 60
    print(paper.table(report, machine, minutes))
    is_whole = not options.quick and set(options.only) == set(_NAMES)
    folder = options.save or (DOCS if is_whole else None)
    if folder:
        paper.write(folder, report, machine, minutes)
    return 0 if complete else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer; three minutes")
    parser.add_argument(
        "--only", action="append", choices=_NAMES, help="measure this alone; may be repeated"
    )
    parser.add_argument("--save", type=Path, help="where to write the result and the picture")
    options = parser.parse_args()
    options.only = options.only or list(_NAMES)
    return options


def _measure_all(
    ground: Ground, provider: Provider | None, report: Report, options: argparse.Namespace
) -> bool:
    """Take one measurement after the other; tell whether none of them broke."""
    measures = {name: partial(measure, ground) for name, measure in _ALONE.items()}
    if provider is None:
        for name in _WITH_PROVIDER:
            report.skip(name, "all of it", f"there is no nginx here; {HOW_TO_INSTALL}")
    else:
        for name, measure in _WITH_PROVIDER.items():
            measures[name] = partial(measure, ground, provider)
    complete = True
    for name in _NAMES:
        if name not in options.only or name not in measures:
            continue
        began = time.monotonic()
        print(f"{name}:", flush=True)
        try:
            measures[name](report, quick=options.quick)
        except BenchmarkError as error:
            complete = False
            report.skip(name, "the rest of it", f"broken: {error}")
        print(f"  ({time.monotonic() - began:.0f} s)\n", flush=True)
    return complete


if __name__ == "__main__":
    sys.exit(main())
