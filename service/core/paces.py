"""Paces: how fast a session sends, by its rate and its jitter."""

from __future__ import annotations

from typing import Final, NamedTuple

from service.models import Session

LEAST_RATE: Final = 0.0001
"""The lowest rate per second: about nine messages a day."""


class Pace(NamedTuple):
    """The seconds from a message to the next: at least one, or at random between two."""

    least: float
    most: float

    @property
    def rate(self) -> float:
        """Messages per second, on average."""
        return 2 / (self.least + self.most)


def of(session: Session) -> Pace | None:
    """Return the pace of a session, None if nothing slows it down."""
    jitter = session.jitter or {"from": 0.0, "to": 0.0}
    between = 1 / max(session.rate, LEAST_RATE) if session.rate else 0.0
    if not (between or jitter["to"]):
        return None
    return Pace(max(between, jitter["from"]), max(between, jitter["to"]))
