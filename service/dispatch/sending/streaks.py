"""Codes that nobody knows: whether they are about one person or all shows in how they follow.

Kept by each process for itself. Answers and receipts have one each: while every message is taken,
the receipts of the same messages may all be failures.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from service.core.decisions import Decision, Hold

LONGEST: Final = 3
"""People who are refused one after the other with an unknown code before a broadcast is paused."""

_MOST: Final = 1_000
"""Broadcasts of which a streak is kept."""


class _Streak(NamedTuple):
    code: str
    recipients: set[str]


class Streaks:
    """The last refusals of each broadcast with a code that nobody knows."""

    def __init__(self) -> None:
        self._streaks: dict[str, _Streak] = {}

    def weigh(self, decision: Decision) -> Decision:
        """Return a decision, which pauses the broadcast where its code has come too often."""
        if not decision.is_unknown:
            return decision
        code, broadcast_id = decision.outcome.code or "", decision.outcome.broadcast_id
        streak = self._streaks.pop(broadcast_id, None)
        if streak is None or streak.code != code:
            streak = _Streak(code, set())
        streak.recipients.add(decision.recipient)
        if len(streak.recipients) >= LONGEST:
            return decision._replace(hold=Hold(_reason(decision), broadcast_id=broadcast_id))
        self._keep(broadcast_id, streak)
        return decision

    def end(self, broadcast_id: str) -> None:
        """Take note that somebody got the message: it is not refused for all."""
        if self._streaks:
            self._streaks.pop(broadcast_id, None)

    def _keep(self, broadcast_id: str, streak: _Streak) -> None:
        if len(self._streaks) >= _MOST:
            self._streaks.pop(next(iter(self._streaks)), None)
        self._streaks[broadcast_id] = streak


def _reason(decision: Decision) -> str:
    code, said = decision.outcome.code, decision.outcome.reason
    return f"{LONGEST} people in a row were refused with the unknown code {code}: {said}"
