"""Figures: what was measured, what it has to hold, and whether it does."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; `value` None: it could not be taken here, and `note` says why.

    `runs` are the repeats of which `value` is the median. `hold` says in words what is asked of
    the number, `met` whether it is so; both are empty where nothing is asked.
    """

    group: str
    name: str
    value: float | None
    unit: str
    runs: tuple[float, ...] = ()
    hold: str = ""
    met: bool | None = None
    note: str = ""


@dataclass(slots=True)
class Report:
    """All figures of a run, said as they come."""

    figures: list[Figure] = field(default_factory=list)

    def add(  # noqa: PLR0913 - a figure has that many sides
        self,
        group: str,
        name: str,
        value: float | None,
        unit: str,
        *,
        runs: Sequence[float] = (),
        least: float | None = None,
        most: float | None = None,
        hold: str = "",
        note: str = "",
    ) -> None:
        """Enter a figure, and whether it is at least `least` and at most `most`."""
        met = None
        if value is not None and (least is not None or most is not None):
            met = (least is None or value >= least) and (most is None or value <= most)
            hold = hold or _words(least, most)
        figure = Figure(group, name, value, unit, tuple(runs), hold, met, note)
        self.figures.append(figure)
        print(line(figure), flush=True)

    def skip(self, group: str, name: str, reason: str) -> None:
        """Enter a figure that cannot be taken here."""
        self.add(group, name, None, "", note=f"skipped: {reason}")

    def value(self, group: str, name: str) -> float | None:
        """Return a figure's value, None where there is none."""
        found = (each.value for each in self.figures if (each.group, each.name) == (group, name))
        return next(found, None)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    """Return the middle one of some values."""
    return float(statistics.median(values))


def line(figure: Figure) -> str:
    """Return a figure as a line of the table."""
    value = "—" if figure.value is None else f"{number(figure.value)} {figure.unit}"
    mark = {True: "✓", False: "✗", None: " "}[figure.met]
    asked = f"{mark} {figure.hold}" if figure.hold else ""
    note = f"({figure.note})" if figure.note else ""
    return f"  {figure.name:<66}{value:>16}  {asked} {note}".rstrip()


def number(value: float) -> str:
    """Return a number with the digits that mean something."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits are enough for anybody
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _words(least: float | None, most: float | None) -> str:
    if least is None:
        return f"≤ {number(most or 0.0)}"
    return f"≥ {number(least)}"
