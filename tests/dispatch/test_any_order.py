"""Whatever a client asks for, in any order, while three dispatchers send: nobody gets it twice."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from service.channels.errors import PermanentError, RetryableError
from service.core import broadcasts, exports
from service.core.reports import Filter
from service.database import now_ms
from service.errors import ConflictError
from service.models import Broadcast, DeliveryStatus
from tests.dispatch.requesting import Requesting, ask_anything, sending
from tests.probe import Call, Stage
from tests.waiting import until
from tests.world import World, numbers

PEOPLE = numbers(32)
FINAL = {"sent", "cancelled"}


class Provider:
    """A provider that refuses some at first, for a while or for good, and takes all others."""

    def __init__(self) -> None:
        self.taken: Counter[tuple[str, str]] = Counter()
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def send(self, call: Call) -> str:
        with self._lock:
            self._asked[call.reference] += 1
            number = int(call.recipient) % 7
            if number == 0 and self._asked[call.reference] == 1:
                raise PermanentError("Not on this channel.", code="131026")
            if number == 1 and self._asked[call.reference] < 3:
                raise RetryableError("Try later.", code="131000")
            self.taken[call.reference, call.recipient] += 1
        return f"id-{call.reference}"


class AnyOrder(Requesting):
    """What a client may do with a broadcast of its own, while it is sent."""

    def __init__(self, world: World, provider: Provider) -> None:
        super().__init__(world, world.broadcast(PEOPLE))
        self.provider = provider
        self.seen: dict[str, str] = {}

    @rule(codes=st.sampled_from([[], ["131026"], ["131000", ""], ["other"]]))
    def retry(self, codes: list[str]) -> None:
        statuses = [DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN]
        self.ask("retry", statuses, codes=codes, accounts=self.world.accounts)

    @rule()
    def edit(self) -> None:
        former = self.world.get(self.id)
        try:
            self.world.edit(former, to=PEOPLE[:24])
            self.seen.clear()
        except ConflictError:
            pass

    @rule()
    def export(self) -> None:
        """Read all rows: what has ended for good never changes."""
        broadcast, after = self.world.get(self.id), None
        while True:
            with self.world.database.reading() as db:
                found = exports.page(db, after, broadcast=broadcast, wanted=Filter())
            for row in (each.row for each in found):
                assert self.seen.get(row.id, row.status) == row.status
                if row.status in FINAL:
                    self.seen[row.id] = row.status
            if len(found) < exports.PAGE:
                return
            after = found[-1]

    @rule()
    def delete(self) -> None:
        if len(self.seen) % 3 == 2:  # seldom: it ends all else
            with self.world.database.writing() as db:
                broadcast = db.get_one(Broadcast, self.id)
                if broadcast.deleted_at is None:
                    broadcasts.delete(db, self.world.client_id, self.id, now=now_ms())

    def teardown(self) -> None:
        if self.world.get(self.id).deleted_at is None:
            self.ask("resume")
        until(lambda: self.world.get(self.id).closed_at is not None)
        self.export()
        self.world.assert_counters_equal_rows([self.id])
        counts = {name: count for name, count in self.world.timeline(self.id).items() if count}
        rows = self.world.statuses(self.id)
        assert counts == rows
        sent = {row.id for row in self.world.deliveries(self.id) if row.status == "sent"}
        mine = {
            reference.partition(".")[0]: count
            for (reference, _), count in self.provider.taken.items()
            if reference.startswith(self.id[:18])
        }
        assert mine == dict.fromkeys(sent, 1)


def test_any_order_of_requests_keeps_ends_counters_and_timelines_true(
    world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 15)
    provider = Provider()
    stage.send = provider.send
    world.session("probe")
    with sending(world) as small:
        ask_anything(lambda: AnyOrder(small, provider), steps=14)
