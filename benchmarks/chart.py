"""The picture for docs/numbers.md: deliveries a second as bars, in an SVG of our own."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from benchmarks import task_queues, throughput
from benchmarks.figures import Report, number

_WIDTH, _BAR, _STEP, _TOP = 880, 22, 34, 62
_LEFT, _RIGHT = 330, 110

_STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #24292f }
    .title { font-size: 17px; font-weight: 600 }
    .small { font-size: 11.5px; fill: #57606a }
    .ours { fill: #1a7f37 } .theirs { fill: #8c959f } .limit { fill: #54aeff }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 } .small { fill: #9198a1 }
        .ours { fill: #3fb950 } .theirs { fill: #656c76 } .limit { fill: #1f6feb }
    }
"""


class _Bar(NamedTuple):
    """One way of delivering, and how it is coloured."""

    label: str
    name: str
    kind: str


_BARS = (
    _Bar("Celery, a task per recipient", task_queues.CELERY, "theirs"),
    _Bar("Dramatiq, a task per recipient", task_queues.DRAMATIQ, "theirs"),
    _Bar("Crier, SQLite, one process", "Crier, SQLite, 1 process", "ours"),
    _Bar("Crier, Postgres, one process", throughput.SERVICE, "ours"),
    _Bar("Crier, Postgres, two processes", "Crier, Postgres, 2 processes", "ours"),
    _Bar("a loop written by hand, Postgres", throughput.LIMIT, "limit"),
)


def draw(report: Report, machine: str) -> str:
    """Return the picture as SVG; a way that was not measured has no bar."""
    values = [(bar, report.value(throughput.GROUP, bar.name)) for bar in _BARS]
    bars = [(bar, value) for bar, value in values if value]
    most = max((value for _, value in bars), default=1.0)
    height = _TOP + _STEP * len(bars) + 34
    rows = [_row(place, bar, value, most) for place, (bar, value) in enumerate(bars)]
    title = "Durable deliveries a second, provider without latency"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-label="{title}">'
    )
    foot = f'<text class="small" x="20" y="{height - 14}">{escape(machine)}</text>'
    above = f'<text class="title" x="20" y="32">{title}</text>'
    return "\n".join([head, f"<style>{_STYLE}</style>", above, *rows, foot, "</svg>\n"])


def _row(place: int, bar: _Bar, value: float, most: float) -> str:
    y = _TOP + place * _STEP
    width = max(2.0, (_WIDTH - _LEFT - _RIGHT) * value / most)
    middle = y + _BAR * 0.72
    return (
        f'<text x="{_LEFT - 12}" y="{middle:.0f}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect class="{bar.kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}"'
        f' rx="3"/><text x="{_LEFT + width + 8:.1f}" y="{middle:.0f}">{number(value)}</text>'
    )
