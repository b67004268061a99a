"""Whether what is uncertain was under way when its process was killed, by the provider's list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.stub import Taken

_ENDING = 0.5
"""Seconds within which the connections of a killed process are closed."""

_UNWRITTEN = 1.0
"""Seconds that the result of an answered message may wait to be written; then it is lost with its
process, and the message as uncertain as one that was not answered."""


@dataclass(slots=True)
class UnderWay:
    """What became of uncertain deliveries, by the provider's list.

    `taken`: it has them, and its connection was closed by a kill; `begun`: it does not, but a
    killed process had a connection open; `neither` are the recipients of the rest.
    """

    taken: int = 0
    begun: int = 0
    neither: list[str] = field(default_factory=list)


def look(
    uncertain: Iterable[str],
    messages: Iterable[Taken],
    closings: Iterable[float],
    kills: Sequence[float],
) -> UnderWay:
    """Judge the recipients of uncertain deliveries; all moments are of one clock."""
    by_recipient: dict[str, list[Taken]] = {}
    for message in messages:
        by_recipient.setdefault(message.recipient, []).append(message)
    found, rest = UnderWay(), []
    for recipient in uncertain:
        if any(_was_under_way(message, kills) for message in by_recipient.get(recipient, [])):
            found.taken += 1
        else:
            rest.append(recipient)
    # The connection of a message that had just begun has nothing on it yet.
    empty = sum(_is_cut(closing, kills) for closing in closings) - found.taken
    for recipient in rest:
        if recipient not in by_recipient and found.begun < empty:
            found.begun += 1
        else:
            found.neither.append(recipient)
    return found


def _was_under_way(message: Taken, kills: Sequence[float]) -> bool:
    is_unwritten = message.answered >= message.closed - _UNWRITTEN
    return is_unwritten and _is_cut(message.closed, kills)


def _is_cut(closing: float, kills: Sequence[float]) -> bool:
    return any(abs(closing - kill) <= _ENDING for kill in kills)
