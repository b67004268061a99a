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
from service.core.deliveries.progress import PartReport, State, advance, is_plain, rise
from service.core.deliveries.transitions import Move
from service.core.waiting import WaitingReport
from service.models import COUNTED, DeliveryStatus, EventKind

_SETTLED = {DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ}
_ARRIVED: Final[frozenset[str]] = frozenset({ReceiptState.DELIVERED, ReceiptState.READ})
_ENDED = {DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN}
_STATUSES: Final = {status.value: status for status in DeliveryStatus}
_REPORTED: Final = {state.value: state for state in ReceiptState}


class Failure(NamedTuple):
    """A part that failed after the provider accepted it, and its delivery before that attempt."""

    error: SendError
    delivery: Claimed
    session_id: str


Judge = Callable[[Failure], Decision]


class Case:
    """A delivery and the reports on it, each with its part.

    `decisions` has only those that changed something: a repeated failure has no consequences.
    `events` keeps what the changed row no longer shows.
    """

    def __init__(self, delivery: Row[Any], now: int) -> None:
        self.delivery = delivery
        self.words: list[tuple[WaitingReport, int]] = []
        self.decisions: list[Decision] = []
        self.events: list[Event] = []
        self._reached_at: dict[str, int] = {}
        self._now = now
        self._attempts: int = delivery.attempts
        self._due_at: int = delivery.due_at
        self._before = self._state = State(
            _STATUSES[delivery.status],
            tuple((delivery.message_ids or "").split()),
            delivery.progress or "",
            delivery.code,
            delivery.reason,
        )

    def hear(self, judge: Judge) -> None:
        """Apply every report."""
        if is_plain(self._state, self.delivery.parts) and self._are_good():
            self._rise()
        else:
            for word, part in self.words:
                self._hear(word, part, judge)

    def _are_good(self) -> bool:
        """Return whether no report is about a failure."""
        return not any(word.kind or word.state == ReceiptState.FAILED for word, _ in self.words)

    def _rise(self) -> None:
        """Apply the usual reports (sent, delivered, read): only their rank matters."""
        for word, _ in self.words:
            after = rise(self._state, _REPORTED[word.state])
            if after is not self._state:
                self._state = after
                self._reached_at[after.status] = word.received_at

    def _hear(self, word: WaitingReport, part: int, judge: Judge) -> None:
        error = waiting.error(word, self._now)
        decision = judge(self._failure(word, error)) if error else None
        after = advance(self._state, _report(word, part, decision), self.delivery.parts)
        if after != self._state:
            self.events += self._passing(word, part, after)
            self._move_to(after, decision)
            self._reached_at[after.status] = word.received_at

    def has_moved(self) -> bool:
        """Return whether the reports changed anything."""
        return self._state != self._before

    def has_arrived(self) -> bool:
        """Return whether a part reached the recipient."""
        return any(word.state in _ARRIVED for word, _ in self.words)

    def move(self) -> Move:
        """Return the changed columns of the row."""
        after = self._state
        return Move(
            id=self.delivery.id,
            was=self._before.status,
            status=after.status,
            message_ids=" ".join(after.message_ids) or None,
            progress=after.progress,
            code=after.code,
            reason=after.reason,
            attempts=self._attempts,
            due_at=self._due_at,
            updated_at=self._now,
            sent_at=self._now if after.status in _SETTLED else None,
            delivered_at=self._reached_at.get(DeliveryStatus.DELIVERED),
            read_at=self._reached_at.get(DeliveryStatus.READ),
            pricing=self._pricing(),
        )

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
        """Return how the delivery is charged: billable if one of its parts is."""
        told = dict.fromkeys((self.delivery.pricing, *(word.pricing for word, _ in self.words)))
        return max(filter(None, told), key=costs.is_billable, default=None)

    def count(self, gain: Counter[str]) -> None:
        """Add the changes to the broadcast's counters."""
        if self._before.status in COUNTED:
            gain[self._before.status] -= 1
        if self._state.status in COUNTED:
            gain[self._state.status] += 1

    def _passing(self, word: WaitingReport, part: int, after: State) -> Iterator[Event]:
        """Yield events for what the row no longer shows once it has the state `after`."""
        before, delivery_id, moment = self._state, self.delivery.id, word.received_at
        if before.status in _ENDED and after.status is not before.status:
            ended_at = self.delivery.updated_at if before is self._before else moment
            kind = EventKind(before.status)
            yield Event(delivery_id, ended_at, kind, 0, before.code, before.reason)
        if word.state == ReceiptState.FAILED and after.status is DeliveryStatus.QUEUED:
            yield Event(delivery_id, moment, EventKind.REOPENED, part, after.code, after.reason)
        elif word.state in _ARRIVED and after.status != word.state:
            yield Event(delivery_id, moment, EventKind(word.state), part)

    def _failure(self, word: WaitingReport, error: SendError) -> Failure:
        """Describe a failure as if its attempt had not been counted yet."""
        claimed = Claimed(
            self.delivery.id,
            self.delivery.broadcast_id,
            self.delivery.recipient,
            max(0, self._attempts - 1),
            " ".join(self._state.message_ids) or None,
        )
        return Failure(error, claimed, word.session_id)

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


def _report(word: WaitingReport, part: int, decision: Decision | None) -> PartReport:
    state = _REPORTED[word.state]
    if decision is None:
        return PartReport(part, state, word.message_id, word.code, word.reason)
    outcome = decision.outcome
    again = outcome.status is DeliveryStatus.QUEUED
    return PartReport(part, state, word.message_id, outcome.code, outcome.reason, again)
