"""Whatever a client asks for while deliveries go on by other ways: by each way once, and all told.

Three dispatchers send through three sessions. Their provider refuses some by one session and takes
them by another, reports late that a message arrived or failed, or says nothing at all.
"""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from service.channels.errors import PermanentError, RetryableError, UncertainError
from service.channels.webhooks import Receipt, ReceiptState
from service.core import receipts, ways
from service.core.broadcast_requests import FallbackStep
from service.database import now_ms
from service.models import Broadcast, Delivery, DeliveryStatus, StepCondition
from tests.dispatch.requesting import Requesting, ask_anything, sending
from tests.probe import Call, Stage
from tests.waiting import until
from tests.world import World, numbers

PEOPLE = numbers(20)
REACHED = {"delivered", "read"}


class Provider:
    """A provider whose answer depends on the person and on how often it was asked."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def send(self, call: Call) -> str:
        with self._lock:
            self._asked[call.recipient] += 1
            fate = (int(call.recipient) + self._asked[call.recipient]) % 6
            if fate == 0:
                raise UncertainError("No answer.", code="no_answer")
            if fate in {1, 2}:
                raise PermanentError("Not on this channel.", code="131026")
            if fate == 3 and self._asked[call.recipient] < 3:
                raise RetryableError("Try later.", code="131000")
            self.taken[call.reference] += 1
        return f"id-{call.reference}"


class AnyWay(Requesting):
    """What a client and providers may do with a broadcast that has a fallback."""

    def __init__(self, world: World, provider: Provider, sessions: list[str]) -> None:
        self.provider = provider
        self.sessions = sessions
        self.retries = 0
        steps = [
            FallbackStep(sessions[1], StepCondition.FAILED),
            FallbackStep(sessions[2], StepCondition.UNDELIVERED, 600),
        ]
        made = world.broadcast(PEOPLE, session_id=sessions[0], fallback=steps)
        super().__init__(world, made)

    @rule(by=st.sampled_from([None, 0, 1, 2]), uncertain=st.booleans())
    def retry(self, by: int | None, *, uncertain: bool) -> None:
        statuses = [DeliveryStatus.FAILED, *([DeliveryStatus.UNCERTAIN] if uncertain else [])]
        session_id = "" if by is None else self.sessions[by]
        self.retries += 1
        self.ask("retry", statuses, session_id=session_id, accounts=self.world.accounts)

    @rule(
        state=st.sampled_from([ReceiptState.DELIVERED, ReceiptState.READ, ReceiptState.FAILED]),
        share=st.integers(2, 5),
    )
    def report(self, state: ReceiptState, share: int) -> None:
        """Have the providers report on some of what they have taken."""
        for row, session_id in self.rows():
            if row.message_ids and int(row.recipient) % share == 0:
                self.tell(row, session_id, state)

    @rule(minutes=st.sampled_from([1, 700]))
    def let_time_pass(self, minutes: int) -> None:
        self.world.tell(
            "UPDATE deliveries SET sent_at = sent_at - :ms, updated_at = updated_at - :ms"
            " WHERE status IN ('sent', 'uncertain')",
            ms=minutes * 60_000,
        )
        self.world.tell(
            "UPDATE due_ways SET due_at = due_at - :ms WHERE broadcast_id = :id",
            id=self.id,
            ms=minutes * 60_000,
        )

    def rows(self) -> list[tuple[Delivery, str]]:
        """Return all rows of all ways, with their sessions; a passed-on row has the first way's."""
        with self.world.database.reading() as db:
            mine = ways.of(db, db.get_one(Broadcast, self.id))
        found = [(row, self.sessions[0]) for row in self.world.deliveries(self.id)]
        for way in mine[1:]:
            found += [(row, str(way.session_id)) for row in self.world.deliveries(way.id)]
        return found

    def tell(self, row: Delivery, session_id: str, state: ReceiptState) -> None:
        error = PermanentError("Gone.", code="131026") if state is ReceiptState.FAILED else None
        word = Receipt(f"id-{row.id}.0", state, reference=f"{row.id}.0", error=error)
        with self.world.database.writing() as db:
            receipts.store(db, session_id, [word], now=now_ms())

    def teardown(self) -> None:
        self.ask("resume")
        until(lambda: not self.world.ask("SELECT 1 FROM waiting_receipts"))
        until(self.has_ended)
        until(self.has_nothing_due)
        with self.world.database.reading() as db:
            mine = ways.of(db, db.get_one(Broadcast, self.id))
        self.world.assert_counters_equal_rows([self.id, *(way.id for way in mine)])
        counts = {name: count for name, count in self.world.timeline(self.id).items() if count}
        assert counts == self.world.statuses(self.id)
        self.assert_each_is_told([way.id for way in mine])

    def has_ended(self) -> bool:
        """Return whether nothing is open; let what is waited for come."""
        if self.world.get(self.id).closed_at is None:
            self.let_time_pass(700)
        return self.world.get(self.id).closed_at is not None

    def has_nothing_due(self) -> bool:
        """Return whether no delivery is to be looked at again; let what is waited for come."""
        due = self.world.ask("SELECT 1 FROM due_ways WHERE broadcast_id = :i", i=self.id)
        if due:
            self.let_time_pass(700)
        return not due

    def assert_each_is_told(self, way_ids: list[str]) -> None:
        """Check each delivery against its ways: nothing is open, and the last one counts."""
        taken = {row.id: [row] for row in self.world.deliveries(self.id)}
        for way_id in way_ids:
            for row in self.world.deliveries(way_id):
                taken[f"{self.id[:18]}{row.id[18:]}"].append(row)
        for whole, *rows in taken.values():
            assert whole.status not in {"queued", "sending", "fallback"}
            open_rows = [row for row in rows if row.status in {"queued", "sending"}]
            assert open_rows == []
            reached = [row.status for row in rows if row.status in REACHED]
            if rows and reached:
                assert whole.status == ("read" if "read" in reached else "delivered")
            elif rows:
                assert whole.status == rows[-1].status
            references = (f"{row.id}.0" for row in rows or [whole])
            # Only a client that retries what may have arrived risks a second copy.
            assert all(self.provider.taken[each] <= 1 + self.retries for each in references)


def test_any_order_of_requests_and_reports_keeps_ways_and_counters_true(
    world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.core.deliveries.verdicts._AGAIN", 20)
    provider = Provider()
    stage.send = provider.send
    sessions = [world.session("probe") for _ in range(3)]
    with sending(world) as small:
        ask_anything(lambda: AnyWay(small, provider, sessions), steps=12)
