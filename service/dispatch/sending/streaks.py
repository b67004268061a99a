"""Streaks of unknown error codes. A streak means that the broadcast is refused, not one person.

Each process keeps its own. Answers and receipts have separate streaks: a provider may accept every
message and still report each one as failed later.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from service.core.decisions import Decision, Hold

LONGEST: Final = 3
"""Consecutive refusals with an unknown code after which a broadcast is paused."""

_MOST: Final = 1_000
"""Maximum broadcasts with a streak."""


class _Streak(NamedTuple):
    code: str
    recipients: set[str]


class Streaks:
    """The latest consecutive refusals of each broadcast with an unknown code, in `known`."""

    def __init__(self) -> None:
        self.known: dict[str, _Streak] = {}

    def weigh(self, decision: Decision) -> Decision:
        """Return the decision; add a pause of the broadcast if its code repeats too often."""
        if not decision.is_unknown:
            return decision
        code, broadcast_id = decision.outcome.code or "", decision.outcome.broadcast_id
        streak = self.known.pop(broadcast_id, None)
        if streak is None or streak.code != code:
            streak = _Streak(code, set())
        streak.recipients.add(decision.recipient)
        if len(streak.recipients) >= LONGEST:
            return decision._replace(hold=Hold(_reason(decision), broadcast_id=broadcast_id))
        self._keep(broadcast_id, streak)
        return decision

    def end(self, broadcast_id: str) -> None:
        """End a broadcast's streak, because a recipient got the message."""
        self.known.pop(broadcast_id, None)

    def _keep(self, broadcast_id: str, streak: _Streak) -> None:
        if len(self.known) >= _MOST:
            self.known.pop(next(iter(self.known)), None)
        self.known[broadcast_id] = streak


def _reason(decision: Decision) -> str:
    code, said = decision.outcome.code, decision.outcome.reason
    return f"{LONGEST} people in a row were refused with the unknown code {code}: {said}"
