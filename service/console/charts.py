"""Charts: the data for the library that draws them, as JSON in an attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.console import bars

_LINES: Final = ("read", "delivered", "sent", "failed")
_LEAST: Final = 3
"""Fewer moments than these make no line."""


def of_timeline(points: Sequence[Mapping[str, int]]) -> dict[str, Any] | None:
    """Return the states of a broadcast over time, each line on top of the one before."""
    if len(points) < _LEAST:
        return None
    present = [state for state in _LINES if any(point[state] for point in points)]
    return {
        "at": [point["at"] // 1000 for point in points],
        "lines": [
            {"state": state, "label": bars.words(state), "values": [each[state] for each in points]}
            for state in present
        ],
    }


def of_minutes(minutes: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
    """Return how many messages were sent in each of the last minutes; None: none were."""
    if not any(sent for _, sent in minutes):
        return None
    label, values = bars.words("sent"), [sent for _, sent in minutes]
    lines = [{"state": "delivered", "label": label, "values": values}]
    return {"at": [at // 1000 for at, _ in minutes], "lines": lines}
