"""Bars: the progress of a broadcast, as one bar of many colours and as words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from service.console.language import gettext as _

_WIDE: Final = 1_000
"""Units of the bar's own width."""

_THIN: Final = 8
"""The least width of a part: one person in a million is to be seen."""

STATES: Final = (
    "read",
    "delivered",
    "sent",
    "pending",
    "held",
    "uncertain",
    "failed",
    "cancelled",
)
"""The parts of a bar, in their order."""


class Part(NamedTuple):
    """A part of a bar: its share of all people, and where it is drawn."""

    state: str
    label: str
    people: int
    total: int
    start: float
    width: float


def words(state: str) -> str:
    """Return the name of a state in the viewer's language."""
    return {
        "read": _("Read"),
        "delivered": _("Delivered"),
        "sent": _("Sent"),
        "pending": _("Waiting"),
        "queued": _("Waiting"),
        "sending": _("Being sent"),
        "held": _("Held"),
        "fallback": _("Going another way"),
        "uncertain": _("Uncertain"),
        "failed": _("Failed"),
        "cancelled": _("Cancelled"),
    }[state]


def parts(counts: Mapping[str, int], *, is_held: bool) -> list[Part]:
    """Return the parts of a bar from exact counts; what waits is held where nothing may go."""
    waiting = counts["pending"] - counts["uncertain"]
    numbers = {**counts, "pending": 0 if is_held else waiting, "held": waiting if is_held else 0}
    present = [state for state in STATES if numbers[state]]
    return [
        Part(state, words(state), numbers[state], counts["total"], start, width)
        for state, start, width in _placed(numbers, present)
    ]


def _placed(numbers: Mapping[str, int], present: list[str]) -> Iterator[tuple[str, float, float]]:
    total = sum(numbers[state] for state in present)
    widths = [max(_THIN, _WIDE * numbers[state] / total) for state in present]
    scale, start = _WIDE / (sum(widths) or 1), 0.0
    for state, width in zip(present, widths, strict=True):
        yield state, round(start, 2), round(width * scale, 2)
        start += width * scale
