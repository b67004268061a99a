"""Applies later reports of a provider to a delivery, one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from sqlalchemy import Row

from service.channels.errors import SendError
from service.channels.webhooks import ReceiptState
from service.core import costs, waiting
from service.core.costs import ChargeKey
from service.core.decisions import Decision
from service.core.deliveries.claims import Claimed
from service.core.deliveries.events import Event
from service.core.deliveries.progress import PartReport, State, advance
from service.models import COUNTED, DeliveryStatus, EventKind

_SETTLED = {DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ}
_ARRIVED: Final[frozenset[str]] = frozenset({ReceiptState.DELIVERED, ReceiptState.READ})
_ENDED = {DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN}


class Failure(NamedTuple):
    """A part that failed after the provider accepted it, and its delivery before that attempt."""

    error: SendError
    delivery: Claimed
    session_id: str


Judge = Callable[[Failure], Decision]


class Case:
    """A delivery and the reports on it, each with its part.

    `decisions` has only those that changed something: a repeated failure has no consequences.
    `events` are what the row does not tell afterwards.
    """

    def __init__(self, delivery: Row[Any], now: int) -> None:
        self.delivery = delivery
        self.words: list[tuple[Row[Any], int]] = []
        self.decisions: list[Decision] = []
        self.events: list[Event] = []
        self._arrived_at: dict[str, int] = {}
        self._now = now
        self._attempts: int = delivery.attempts
        self._due_at: int = delivery.due_at
        self._before = self._state = State(
            DeliveryStatus(delivery.status),
            tuple((delivery.message_ids or "").split()),
            delivery.progress or "",
            delivery.code,
            delivery.reason,
        )

    def hear(self, judge: Judge) -> None:
        """Apply every report."""
        for row, part in self.words:
            error = waiting.error(row, self._now)
            decision = judge(self._failure(row, error)) if error else None
            after = advance(self._state, _word(row, part, decision), self.delivery.parts)
            if after != self._state:
                self.events += self._passing(row, part, after)
                self._move_to(after, decision)
                if after.status in _ARRIVED:
                    self._arrived_at[after.status] = row.received_at

    def has_moved(self) -> bool:
        """Return whether the reports changed anything."""
        return self._state != self._before

    def has_arrived(self) -> bool:
        """Return whether a part reached the recipient."""
        return not _ARRIVED.isdisjoint(row.state for row, _ in self.words)

    def move(self) -> dict[str, object]:
        """Return the changed columns of the row."""
        after = self._state
        return {
            "delivery_id": self.delivery.id,
            "was": self._before.status,
            "new_status": after.status,
            "new_message_ids": " ".join(after.message_ids) or None,
            "new_progress": after.progress,
            "new_code": after.code,
            "new_reason": after.reason,
            "new_attempts": self._attempts,
            "new_due_at": self._due_at,
            "new_sent_at": self._now if after.status in _SETTLED else None,
            "new_updated_at": self._now,
            "new_pricing": self._pricing(),
            "new_delivered_at": self._arrived_at.get(DeliveryStatus.DELIVERED),
            "new_read_at": self._arrived_at.get(DeliveryStatus.READ),
        }

    def charges(self) -> Counter[ChargeKey]:
        """Return the changes to the counts of how the broadcast is charged."""
        changes: Counter[ChargeKey] = Counter()
        before, after = self.delivery.pricing, self._pricing()
        if after and after != before:
            place = costs.country(self.delivery.recipient)
            changes[ChargeKey(self.delivery.broadcast_id, after, place)] += 1
            if before:
                changes[ChargeKey(self.delivery.broadcast_id, before, place)] -= 1
        return changes

    def _pricing(self) -> str | None:
        """Return how the delivery is charged: as billable if one of its parts is."""
        told = (row.pricing for row, _ in self.words)
        known = filter(None, (self.delivery.pricing, *told))
        return max(known, key=costs.is_billable, default=None)

    def gain(self) -> Counter[str]:
        """Return the changes to the broadcast's counters."""
        gain: Counter[str] = Counter()
        if self._before.status in COUNTED:
            gain[self._before.status] -= 1
        if self._state.status in COUNTED:
            gain[self._state.status] += 1
        return gain

    def _passing(self, row: Row[Any], part: int, after: State) -> Iterator[Event]:
        """Yield what the row would not tell once it is as in `after`."""
        before, delivery_id, moment = self._state, self.delivery.id, row.received_at
        if before.status in _ENDED and after.status is not before.status:
            ended_at = self.delivery.updated_at if before is self._before else moment
            kind = EventKind(before.status)
            yield Event(delivery_id, ended_at, kind, 0, before.code, before.reason)
        if row.state == ReceiptState.FAILED and after.status is DeliveryStatus.QUEUED:
            yield Event(delivery_id, moment, EventKind.REOPENED, part, after.code, after.reason)
        elif row.state in _ARRIVED and after.status != row.state:
            yield Event(delivery_id, moment, EventKind(row.state), part)

    def _failure(self, row: Row[Any], error: SendError) -> Failure:
        """Describe a failure as if its attempt had not been counted yet."""
        claimed = Claimed(
            self.delivery.id,
            self.delivery.broadcast_id,
            self.delivery.recipient,
            max(0, self._attempts - 1),
            " ".join(self._state.message_ids) or None,
        )
        return Failure(error, claimed, row.session_id)

    def _move_to(self, after: State, decision: Decision | None) -> None:
        if decision:
            has_failed = self._state.status is DeliveryStatus.FAILED
            self.decisions.append(decision._replace(hold=None) if has_failed else decision)
        if after.status is DeliveryStatus.QUEUED:
            self._wait(decision)
        self._state = after

    def _wait(self, decision: Decision | None) -> None:
        """Set the next attempt; never earlier than one that was already set."""
        due_at = decision.outcome.due_at if decision else self._now
        if self._state.status is DeliveryStatus.QUEUED:
            self._due_at = max(self._due_at, due_at if decision else 0)
            return
        self._due_at = due_at
        if decision:
            self._attempts = max(0, self._attempts - 1) + decision.outcome.tried


def _word(row: Row[Any], part: int, decision: Decision | None) -> PartReport:
    state = ReceiptState(row.state)
    if decision is None:
        return PartReport(part, state, row.message_id, row.code, row.reason)
    outcome = decision.outcome
    again = outcome.status is DeliveryStatus.QUEUED
    return PartReport(part, state, row.message_id, outcome.code, outcome.reason, again)
