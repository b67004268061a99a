"""What is kept of a run: a table for the terminal, JSON for programs, a picture for the README."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import picture
from benchmarks.figures import Figure, Report, line

_BUSY = 0.3
"""Load over the last minute, per core, from which on a machine had something else to do."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run was taken; `load` is the load average of the minute before it began."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    load: float
    taken_at: str

    @property
    def is_busy(self) -> bool:
        """Tell whether others worked on the machine when the run began."""
        return self.load > _BUSY * self.cores

    def describe(self) -> str:
        """Return the machine in a sentence."""
        busy = f"busy (load {self.load:.1f})" if self.is_busy else "quiet"
        return (
            f"{self.cores} cores ({self.processor}), {self.memory_gb:.0f} GB, {self.system},"
            f" Python {self.python}; the machine was {busy} when the run began"
        )


def machine() -> Machine:
    """Look at this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(memory, 1),
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def table(report: Report, taken_on: Machine, minutes: float) -> str:
    """Return all figures under their headings, and how many hold what is asked."""
    asked = [figure for figure in report.figures if figure.met is not None]
    held = sum(bool(figure.met) for figure in asked)
    lines = [f"Taken in {minutes:.0f} minutes on {taken_on.describe()}."]
    for heading, figures in _groups(report):
        lines += ["", heading, *map(line, figures)]
    return "\n".join([*lines, "", f"{held} of the {len(asked)} figures that have to hold do."])


def write(folder: Path, report: Report, taken_on: Machine, minutes: float) -> None:
    """Write `benchmarks.json` and `benchmarks.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "machine": asdict(taken_on) | {"busy": taken_on.is_busy},
        "minutes": round(minutes, 1),
        "figures": [_rounded(figure) for figure in report.figures],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / "benchmarks.json").write_text(f"{text}\n")
    (folder / "benchmarks.svg").write_text(picture.draw(report, taken_on.describe()))
    print(f"Written to {folder / 'benchmarks.json'} and benchmarks.svg beside it.")


def _rounded(figure: Figure) -> dict[str, Any]:
    """Return a figure with four digits, which is more than a benchmark knows."""
    value = None if figure.value is None else float(f"{figure.value:.4g}")
    runs = [float(f"{run:.4g}") for run in figure.runs]
    return asdict(figure) | {"value": value, "runs": runs}


def _groups(report: Report) -> Iterator[tuple[str, list[Figure]]]:
    """Yield the headings in the order of their first figures, with all their figures."""
    order = dict.fromkeys(figure.group for figure in report.figures)
    by_heading = sorted(report.figures, key=lambda figure: list(order).index(figure.group))
    for heading, figures in groupby(by_heading, key=lambda figure: figure.group):
        yield heading, list(figures)


def _processor() -> str:
    """Return the processor's name, as Linux tells it."""
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.machine()
