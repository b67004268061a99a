"""Verdicts: the overall status of a delivery by all its ways, and its next step.

These are pure functions. They look at all ways each time, so the order of events does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.core.deliveries.due_ways import Step
from service.models import FOREVER, DeliveryStatus

UNDELIVERED: Final = "undelivered"
"""The code of a way that was left as no receipt came in time."""

_AGAIN: Final = 1_000
"""Milliseconds after which a way is looked at again that is being sent and should be stopped."""

RANKS: Final = {DeliveryStatus.DELIVERED: 1, DeliveryStatus.READ: 2}
"""The statuses of a way that has reached the recipient: of several ways the highest tells."""


class Way(NamedTuple):
    """The status of a delivery in one way, and since when (ms of Unix time)."""

    status: DeliveryStatus
    since: int


class NextStep(NamedTuple):
    """What may follow the last way.

    `step` leads to the next one, None if there is none, or if the delivery may not go on.
    """

    step: Step | None
    is_paused: bool = False


class Verdict(NamedTuple):
    """The overall status of a delivery, and the next step.

    `by` is the position of the way that determines it. `goes_on`: the next way takes over. `stops`:
    cancel what the last way has not sent yet. `look_at` is when to check again.
    """

    status: DeliveryStatus
    by: int
    goes_on: bool = False
    stops: bool = False
    look_at: int | None = None


def judge(ways: Sequence[Way], following: NextStep, *, now: int) -> Verdict:
    """Judge a delivery by its ways, of which only the last one may be open."""
    last = len(ways) - 1
    best = max(range(len(ways)), key=lambda place: RANKS.get(ways[place].status, 0))
    if ways[best].status in RANKS:
        return _arrived(ways, best, now)
    match ways[last].status:
        case DeliveryStatus.FAILED:
            return _failed(last, following)
        case DeliveryStatus.SENT | DeliveryStatus.UNCERTAIN as status:
            return _waiting(status, last, ways[last].since, following, now)
        case DeliveryStatus.CANCELLED:
            return Verdict(DeliveryStatus.CANCELLED, last)
        case _:
            return Verdict(DeliveryStatus.FALLBACK, last)


def _arrived(ways: Sequence[Way], best: int, now: int) -> Verdict:
    """Stop the last way if another one has reached the recipient."""
    open_one = ways[-1].status if best < len(ways) - 1 else None
    return Verdict(
        ways[best].status,
        best,
        stops=open_one is DeliveryStatus.QUEUED,
        look_at=now + _AGAIN if open_one is DeliveryStatus.SENDING else None,
    )


def _failed(last: int, following: NextStep) -> Verdict:
    if following.step is None:
        return Verdict(DeliveryStatus.FAILED, last)
    if following.is_paused:
        return Verdict(DeliveryStatus.FALLBACK, last, look_at=FOREVER)
    return Verdict(DeliveryStatus.FALLBACK, last, goes_on=True)


def _waiting(
    status: DeliveryStatus, last: int, since: int, following: NextStep, now: int
) -> Verdict:
    due_at = following.step.due_at(since) if following.step else None
    if due_at is None:
        return Verdict(status, last)
    if due_at > now:
        return Verdict(status, last, look_at=due_at)
    if following.is_paused:
        return Verdict(status, last, look_at=FOREVER)
    return Verdict(DeliveryStatus.FALLBACK, last, goes_on=True)
