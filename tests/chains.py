"""A broadcast with a fallback, as senders, receipts and looks leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from service.channels.errors import PermanentError, SendError
from service.channels.webhooks import Receipt, ReceiptState
from service.core import decisions, receipts, waiting, ways
from service.core.broadcast_requests import FallbackStep
from service.core.deliveries import looks, transitions
from service.core.deliveries.looks import Looked
from service.core.deliveries.transitions import Outcome
from service.database import now_ms
from service.dispatch.upkeep.receipts import judge_for
from service.models import Broadcast, Delivery, DeliveryStatus, StepCondition
from tests.world import ADA, World

MINUTE = 60_000
REFUSED = PermanentError("Not on WhatsApp.", code="131026")


class Chain(NamedTuple):
    """A broadcast and the sessions of its ways, in order."""

    world: World
    sessions: list[str]
    id: str

    @property
    def only(self) -> Delivery:
        (delivery,) = self.world.deliveries(self.id)
        return delivery

    @property
    def ways(self) -> Sequence[Broadcast]:
        with self.world.database.reading() as db:
            return ways.of(db, db.get_one(Broadcast, self.id))

    def states(self) -> list[tuple[str, str | None]]:
        """Return the status and code of the only delivery in each way that it has taken."""
        rows = [self.world.deliveries(way.id) for way in self.ways]
        return [(row.status, row.code) for (row,) in filter(None, rows)]

    def leave(
        self, status: DeliveryStatus, step: int = 0, *, now: int | None = None, **columns: Any
    ) -> None:
        """Send what is due in a way, and leave it at a status."""
        broadcast_id = self.ways[step].id if step else self.id
        self.world.tell("UPDATE deliveries SET due_at = 0 WHERE status = 'queued'")
        claimed = self.world.claim(broadcast_id)
        now = now_ms() if now is None else now
        outcomes = [
            Outcome(each.id, status, 1, now, now, f"id-{each.id}")._replace(**columns)
            for each in claimed.deliveries
        ]
        assert outcomes
        with self.world.database.writing() as db:
            transitions.record(db, claimed.id, outcomes, now=now)

    def fail(self, step: int = 0, **columns: Any) -> None:
        """Have the provider of a way refuse all that is due."""
        said = {"code": REFUSED.code, "reason": REFUSED.reason, "message_ids": None}
        self.leave(DeliveryStatus.FAILED, step, **{**said, **columns})

    def look(self, now: int | None = None) -> Looked:
        """Look at what is due."""
        now = now_ms() if now is None else now
        with self.world.database.writing() as db:
            return looks.look(db, 100, self.world.accounts.channels, now=now)

    def hear(
        self,
        state: ReceiptState,
        step: int = 0,
        *,
        error: SendError = REFUSED,
        now: int | None = None,
    ) -> None:
        """Have a provider report on the message that it took for the only delivery."""
        now = now_ms() if now is None else now
        row = self.world.deliveries(self.ways[step].id)[0] if step else self.only
        said = {"provider_id": f"id-{row.id}", "reference": f"{row.id}.0"}
        if state is ReceiptState.FAILED:
            said["error"] = error  # type: ignore[assignment]
        with self.world.database.writing() as db:
            receipts.store(db, self.sessions[step], [Receipt(state=state, **said)], now=now)  # type: ignore[arg-type]
            judge = judge_for(db, self.world.settings, now)
            done = receipts.apply(db, waiting.due(db, now=now), 100, judge, now=now)
            decisions.carry_out(db, done.decisions, now=now)

    def assert_true(self) -> None:
        """Check that all counters equal their rows."""
        self.world.assert_counters_equal_rows([self.id, *(way.id for way in self.ways)])
        counts = {name: count for name, count in self.world.timeline(self.id).items() if count}
        counted = {
            name: count
            for name, count in self.world.statuses(self.id).items()
            if name not in {"queued", "sending", "fallback"}
        }
        assert counts == counted


def chain(
    world: World, *steps: FallbackStep | int | None, to: Sequence[Any] = (ADA,), **order: Any
) -> Chain:
    """Make a broadcast through probes: a step waits so many minutes, or for a failure if None."""
    first = world.session("probe")
    made = [
        each
        if isinstance(each, FallbackStep)
        else FallbackStep(
            world.session("probe"),
            StepCondition.FAILED if each is None else StepCondition.UNDELIVERED,
            each,
        )
        for each in steps
    ]
    broadcast_id = world.ready(list(to), session_id=first, fallback=made, **order)
    return Chain(world, [first, *(each.session_id for each in made)], broadcast_id)
