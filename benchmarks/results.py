"""What is kept of a run: a table, JSON, a picture, and the numbers of docs/numbers.md.

`numbers` is what stands in that page between the lines START and END; a test compares them.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.figures import Figure, Report, line
from benchmarks.sentences import ROWS

START, END = "<!-- numbers -->", "<!-- /numbers -->"
"""Between these lines of docs/numbers.md stand the numbers of `docs/benchmarks.json`."""

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
        """Return whether the machine was busy when the run began."""
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
    """Return all figures under their headings, and how many meet their target."""
    asked = [figure for figure in report.figures if figure.met is not None]
    held = sum(bool(figure.met) for figure in asked)
    lines = [f"Taken in {minutes:.0f} minutes on {taken_on.describe()}."]
    for heading, figures in _groups(report):
        lines += ["", heading, *map(line, figures)]
    return "\n".join([*lines, "", f"{held} of the {len(asked)} figures that have to hold do."])


def numbers(result: Mapping[str, Any]) -> str:
    """Return the block for docs/numbers.md from what `benchmarks.json` holds, as Markdown.

    A row of which a figure was not taken is left out.
    """
    taken_on = result["machine"]
    values = {(each["group"], each["name"]): each["value"] for each in result["figures"]}
    rows = [
        f"| {row.what} | {row.sentence.format(**row.pick(values))} |"
        for row in ROWS
        if all(values.get(figure) is not None for figure in row.figures.values())
    ]
    busy = f", which others used as well (load {taken_on['load']:.0f})" if taken_on["busy"] else ""
    head = (
        f"Taken on {taken_on['taken_at'][:10]} on {taken_on['cores']} cores"
        f" ({taken_on['processor']}){busy}, by `{result['command']}`."
    )
    return "\n".join([head, "", "| what | measured |", "|---|---|", *rows])


def with_numbers(page: str, result: Mapping[str, Any]) -> str:
    """Return a page with the numbers of a result in it."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{numbers(result)}\n{END}{after}"


def write(folder: Path, report: Report, taken_on: Machine, minutes: float, command: str) -> None:
    """Write `benchmarks.json`, with the command that took it, and `benchmarks.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "machine": asdict(taken_on) | {"busy": taken_on.is_busy},
        "command": command,
        "minutes": round(minutes, 1),
        "figures": [_rounded(figure) for figure in report.figures],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / "benchmarks.json").write_text(f"{text}\n")
    (folder / "benchmarks.svg").write_text(chart.draw(report, taken_on.describe()))
    print(f"Written to {folder / 'benchmarks.json'} and benchmarks.svg beside it.")


def write_numbers(folder: Path) -> None:
    """Update `numbers.md` of a folder from the `benchmarks.json` beside it."""
    result = json.loads((folder / "benchmarks.json").read_text())
    path = folder / "numbers.md"
    path.write_text(with_numbers(path.read_text(), result))


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
