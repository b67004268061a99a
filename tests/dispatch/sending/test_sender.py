"""The threads that talk to providers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any, cast

import pytest
from sqlalchemy.pool import QueuePool

from service.channels.base import Account
from service.channels.errors import BlockedError, PermanentError, RetryableError, UncertainError
from service.core import dispatchers
from service.core.decisions import Decision, Hold
from service.core.deliveries.claims import Claimed
from service.core.deliveries.transitions import Outcome
from service.database import now_ms
from service.dispatch.lease import Lease
from service.dispatch.sending.holds import LocalHolds
from service.dispatch.sending.lanes import Work
from service.dispatch.sending.ledger import Ledger
from service.dispatch.sending.prepared import PreparedBroadcast
from service.dispatch.sending.queue import ClaimedQueue
from service.dispatch.sending.recorder import Recorder, Result
from service.dispatch.sending.retry import Policy
from service.dispatch.sending.revocations import RevokedClaims
from service.dispatch.sending.sender import Senders, SendingContext
from service.dispatch.sending.streaks import Streaks
from tests.dispatch.conftest import marked
from tests.probe import Call, Probe, Stage
from tests.waiting import until
from tests.world import World

BROADCAST, SESSION, OTHER = "b" * 18 + "0" * 6, "5" * 24, "6" * 24
_NOTHING: tuple[Any, ...] = ()
POLICY = Policy(
    max_attempts=3, retry_base=1.0, retry_cap=1.0, expires_at=now_ms() + 3_600_000, resend=False
)


class Kept(Recorder):
    """A recorder that keeps what it is given and writes nothing."""

    def __init__(self, world: World) -> None:
        super().__init__(world.settings, world.database)
        self.given: list[Decision] = []
        self.is_full = False

    def put(self, results: Iterable[Result]) -> None:
        self.given.extend(decision for _, decision in results)

    def has_room(self) -> bool:
        return not self.is_full

    def outcomes(self) -> dict[str, Outcome]:
        return {decision.outcome.id: decision.outcome for decision in list(self.given)}


class Workshop:
    """Sender threads with all they need and nothing else: no claimer, no sweep, no heartbeat."""

    def __init__(self, world: World, threads: int = 2, room: int = 64) -> None:
        self.recorder = Kept(world)
        self.lease = Lease(world.database, 3_600.0)
        self.folder = world.settings.ledgers_dir
        self.ledger = Ledger(self.folder, 200)
        self.lease.on_join = self.ledger.open
        self.lease.join()
        self.holds = LocalHolds()
        self.queue = ClaimedQueue(room, 1000)
        self.context = SendingContext(
            world.accounts.channels.context,
            self.queue,
            self.recorder,
            self.lease,
            self.holds,
            self.ledger,
            Streaks(),
            RevokedClaims(),
        )
        self.senders = Senders(threads, self.context)
        self._driver = Probe(Account(SESSION, {}, cast("Any", None)), cast("Any", None))
        self._numbers = count(1)

    def work(
        self, says: str = "Hello", moment: int = 0, session_id: str = SESSION, **claimed: Any
    ) -> Work:
        """Return a claimed delivery of as many parts as there are words."""
        parts = tuple(says.split())
        broadcast = PreparedBroadcast(BROADCAST, session_id, self._driver, parts, POLICY)
        delivery_id = f"{BROADCAST[:18]}{next(self._numbers):06x}"
        delivery = Claimed(delivery_id, BROADCAST, "2348179803743", 0, None)._replace(**claimed)
        return Work(delivery, broadcast, self.lease.id, moment, 10_000 if moment else 0)

    def do(self, *works: Work) -> list[Outcome]:
        """Have deliveries sent; return what became of them, in their order."""
        self.queue.add(list(works))
        return self.await_all(works)

    def await_all(self, works: Iterable[Work]) -> list[Outcome]:
        """Return what became of deliveries as soon as it is known of all, in their order."""
        ids = [each.delivery.id for each in works]
        until(lambda: self.recorder.outcomes().keys() >= set(ids))
        return [self.recorder.outcomes()[each] for each in ids]

    def under_way(self) -> set[str]:
        """Return what the ledger has, as whoever takes over would read it."""
        return marked(self.folder, self.lease.id)

    def close(self) -> None:
        self.context.give_back(self.queue.close())
        assert self.senders.join(time.monotonic() + 60) == 0


@pytest.fixture
def workshop(world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    del stage
    # The machine may have other things to do.
    monkeypatch.setattr("service.dispatch.sending.pacing.LATE", 60_000_000)
    workshop = Workshop(world)
    workshop.senders.start()
    yield workshop
    workshop.close()


class Door:
    """A provider that answers nobody until it is opened."""

    def __init__(self, stage: Stage) -> None:
        self._opened = threading.Event()
        stage.send = self._send

    def open(self) -> None:
        self._opened.set()

    def _send(self, call: Call) -> str:
        if call.body == "stuck":
            assert self._opened.wait(60)
        return f"id-{call.reference}"


@pytest.fixture
def door(stage: Stage) -> Iterator[Door]:
    door = Door(stage)
    yield door
    door.open()


def failing_at(word: str, error: Exception) -> Callable[[Call], str]:
    """Return a way of sending that fails at one word."""

    def send(call: Call) -> str:
        if call.body == word:
            raise error
        return f"id-{call.body}"

    return send


def test_no_database_session_is_open_while_a_provider_is_called(
    world: World, stage: Stage, workshop: Workshop
) -> None:
    pool = world.database.engine.pool
    assert isinstance(pool, QueuePool)
    open_ones: list[int] = []

    def send(call: Call) -> str:
        open_ones.append(pool.checkedout())
        return call.reference

    stage.send = send
    workshop.do(*(workshop.work("Two words") for _ in range(20)))
    assert open_ones == [0] * 40


def test_each_delivery_is_judged_by_its_own_answer(stage: Stage, workshop: Workshop) -> None:
    errors = {
        "gone": PermanentError("Unknown."),
        "lost": UncertainError("Lost."),
        "later": RetryableError("Busy."),
    }

    def send(call: Call) -> str:
        if call.body in errors:
            raise errors[call.body]
        return f"id-{call.reference}"

    stage.send = send
    works = [workshop.work(each) for each in ("anna", "gone", "lost", "later", "bert")]
    outcomes = workshop.do(*works)
    assert [(outcome.status, outcome.tried) for outcome in outcomes] == [
        ("sent", 1), ("failed", 1), ("uncertain", 1), ("queued", 1), ("sent", 1)
    ]  # fmt: skip
    assert outcomes[0].message_ids == f"id-{works[0].delivery.id}.0"
    assert Counter(call.reference for call in stage.calls) == Counter(
        f"{each.delivery.id}.0" for each in works
    )


def test_many_deliveries_are_under_way_in_few_threads(
    stage: Stage, door: Door, workshop: Workshop
) -> None:
    works = [workshop.work("stuck") for _ in range(8)]
    workshop.queue.add(works)
    until(lambda: len(stage.calls) == 8)
    assert workshop.recorder.given == []
    door.open()
    assert {outcome.status for outcome in workshop.await_all(works)} == {"sent"}


def test_no_more_is_under_way_than_the_room_allows(
    world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    del monkeypatch
    most, now, lock = [0], [0], threading.Lock()

    def send(call: Call) -> str:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.001)
        with lock:
            now[0] -= 1
        return call.reference

    stage.send = send
    workshop = Workshop(world, room=4)
    workshop.senders.start()
    workshop.do(*(workshop.work() for _ in range(100)))
    workshop.close()
    assert most[0] == 4


def test_nothing_new_begins_while_too_many_results_are_unwritten(
    stage: Stage, workshop: Workshop
) -> None:
    workshop.recorder.is_full = True
    workshop.queue.add(works := [workshop.work() for _ in range(3)])
    workshop.senders.wake()
    assert len(workshop.queue) == 3
    assert stage.calls == []
    workshop.recorder.is_full = False
    assert {outcome.status for outcome in workshop.await_all(works)} == {"sent"}


# The lease


def test_what_was_claimed_under_an_id_that_is_lost_is_not_sent(
    world: World, stage: Stage, workshop: Workshop
) -> None:
    """A process that was frozen and beats again must leave its old claims to whoever took them."""
    old = [workshop.work() for _ in range(5)]
    with world.database.writing() as db:
        dispatchers.remove(db, [workshop.lease.id])
    workshop.lease.turn()
    assert workshop.lease.is_good()
    outcomes = workshop.do(*old)
    assert stage.calls == []
    assert {(outcome.status, outcome.tried) for outcome in outcomes} == {("queued", 0)}
    assert workshop.do(workshop.work())[0].status == "sent"


def test_nothing_is_sent_on_a_lease_that_is_over(stage: Stage, workshop: Workshop) -> None:
    workshop.lease.leave()
    (outcome,) = workshop.do(workshop.work())
    assert (outcome.status, outcome.tried) == ("queued", 0)
    assert stage.calls == []


def test_a_lease_that_ends_between_two_parts_ends_the_sending(
    stage: Stage, workshop: Workshop
) -> None:
    def send(call: Call) -> str:
        workshop.lease.leave()
        return f"id-{call.body}"

    stage.send = send
    (outcome,) = workshop.do(workshop.work("one two"))
    assert (outcome.status, outcome.tried, outcome.message_ids) == ("queued", 0, "id-one")


def test_a_lease_that_ends_while_a_part_waits_for_its_slot_ends_the_sending(
    stage: Stage, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is where a process is most likely to be when it is frozen."""

    def wait_until_the_lease_is_over(_work: Work, _number: int) -> float:
        workshop.lease.leave()
        return 0.02

    until_slot = "service.dispatch.sending.delivering._until_slot"
    monkeypatch.setattr(until_slot, wait_until_the_lease_is_over)
    stage.send = lambda call: f"id-{call.body}"
    (outcome,) = workshop.do(workshop.work("one two", time.time_ns() // 1000))
    assert [call.body for call in stage.calls] == ["one"]
    assert (outcome.status, outcome.message_ids) == ("queued", "id-one")


# The ledger


def test_a_delivery_stands_in_the_ledger_before_its_message_leaves(
    stage: Stage, workshop: Workshop
) -> None:
    seen: list[bool] = []

    def send(call: Call) -> str:
        seen.append(call.reference.partition(".")[0] in workshop.under_way())
        return "id"

    stage.send = send
    works = [workshop.work("two words") for _ in range(5)]
    workshop.do(*works)
    assert seen == [True] * 10
    # It is erased when its result is committed, which nobody does here.
    assert workshop.under_way() == {each.delivery.id for each in works}


def test_what_may_not_be_sent_does_not_stay_in_the_ledger(
    world: World, stage: Stage, workshop: Workshop
) -> None:
    del stage
    recorded = Recorder(world.settings, world.database)
    recorded.on_recorded = workshop.context.note_recorded
    workshop.lease.leave()
    (outcome,) = workshop.do(work := workshop.work())
    recorded.put([(work.claim_id, Decision(outcome))])
    assert recorded.drain(time.monotonic() + 60)
    assert workshop.under_way() == set()


def test_without_a_place_in_the_ledger_nothing_is_sent(
    world: World, stage: Stage, workshop: Workshop
) -> None:
    del world
    for number in range(200):
        assert workshop.ledger.mark((f"{number:024x}", 0))
    (outcome,) = workshop.do(workshop.work())
    assert (outcome.status, outcome.tried, stage.calls) == ("queued", 0, [])
    workshop.ledger.erase([(f"{0:024x}", 0)])
    assert workshop.do(workshop.work())[0].status == "sent"


# Holds


def test_a_hold_stops_what_lies_claimed(stage: Stage, workshop: Workshop) -> None:
    workshop.holds.add(Hold("Refused.", broadcast_id=BROADCAST))
    (outcome,) = workshop.do(workshop.work())
    assert (outcome.status, outcome.tried) == ("queued", 0)
    assert stage.calls == []


def test_the_first_word_of_a_blocked_account_stops_the_rest(
    stage: Stage, workshop: Workshop
) -> None:
    stage.send = failing_at("Hello", BlockedError("Logged out."))
    outcomes = workshop.do(*(workshop.work() for _ in range(50)))
    assert {(outcome.status, outcome.tried) for outcome in outcomes} == {("queued", 0)}
    # No more than the first share of a session may have been under way.
    assert len(stage.calls) <= 8
    assert len(workshop.queue) == 0


# Sessions that do not answer


def test_others_are_sent_while_one_provider_does_not_answer(
    stage: Stage, door: Door, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatch.sending.limits.PATIENCE", 0.05)
    workshop = Workshop(world, room=8)
    workshop.senders.start()
    stuck = [workshop.work("stuck") for _ in range(50)]
    workshop.queue.add(stuck)
    until(lambda: len(stage.calls) == 8)
    fine = [workshop.work("fine", session_id=OTHER) for _ in range(20)]
    assert {outcome.status for outcome in workshop.do(*fine)} == {"sent"}
    # The silent session has no more under way than its share, and gives back what it will not
    # get to soon.
    until(lambda: few_wait(workshop))
    assert Counter(call.body for call in stage.calls)["stuck"] == 8
    door.open()
    outcomes = workshop.await_all(stuck)
    workshop.close()
    assert [str(outcome.status) for outcome in outcomes].count("sent") >= 8
    assert {outcome.tried for outcome in outcomes if outcome.status == "queued"} == {0}


# Slots


def test_a_delivery_that_missed_its_slot_goes_back_for_another(
    stage: Stage, workshop: Workshop
) -> None:
    long_ago = time.time_ns() // 1000 - 3_600_000_000
    (outcome,) = workshop.do(workshop.work(moment=long_ago))
    assert (outcome.status, outcome.tried) == ("queued", 0)
    assert stage.calls == []


def test_nothing_is_sent_before_its_slot_and_parts_keep_the_rate_among_themselves(
    stage: Stage, workshop: Workshop
) -> None:
    moments: list[int] = []

    def send(_call: Call) -> str:
        moments.append(time.time_ns() // 1000)
        return "id"

    stage.send = send
    work = workshop.work("one two three", time.time_ns() // 1000 + 100_000)
    workshop.do(work)
    slots = [work.moment + number * work.interval for number in range(3)]
    assert all(moment >= slot for moment, slot in zip(moments, slots, strict=True))


# Defects, and the end


def test_a_thread_does_not_die_of_a_defect(
    stage: Stage, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.send = failing_at("bad", ZeroDivisionError())
    outcomes = workshop.do(*(workshop.work("bad") for _ in range(5)), workshop.work("good"))
    assert {(outcome.status, outcome.code) for outcome in outcomes[:5]} == {
        ("queued", "internal_error")
    }
    assert outcomes[5].status == "sent"

    with monkeypatch.context() as patch:
        patch.setattr(
            "service.dispatch.sending.sender.deliver", lambda _work: (_ for _ in _NOTHING)
        )
        (broken,) = workshop.do(workshop.work())
    assert (broken.status, broken.code) == ("queued", "internal_error")
    assert workshop.do(workshop.work())[0].status == "sent"
    assert not workshop.senders.has_died()


def test_what_waits_for_a_slot_goes_back_when_this_process_ends(
    stage: Stage, workshop: Workshop
) -> None:
    now = time.time_ns() // 1000
    begun = replace(workshop.work("one two", now), interval=3_600_000_000)
    waiting = workshop.work("one", now + 3_600_000_000)
    workshop.queue.add([begun, waiting])
    until(lambda: stage.calls)
    workshop.context.give_back(workshop.queue.close())
    outcomes = workshop.await_all([begun, waiting])
    assert [(each.status, each.tried) for each in outcomes] == [("queued", 0)] * 2
    assert (outcomes[0].message_ids or "").startswith("id-")
    assert [call.body for call in stage.calls] == ["one"]


def test_what_is_under_way_is_waited_for_at_the_end(
    stage: Stage, door: Door, workshop: Workshop
) -> None:
    workshop.queue.add([workshop.work("stuck")])
    until(lambda: stage.calls)
    workshop.queue.close()
    assert workshop.senders.join(time.monotonic() + 0.1) == 1
    door.open()
    assert workshop.senders.join(time.monotonic() + 60) == 0
    assert [decision.outcome.status for decision in workshop.recorder.given] == ["sent"]


def few_wait(workshop: Workshop) -> bool:
    """Give back what sessions that do not answer will not get to soon; tell whether few wait."""
    workshop.context.give_back(workshop.queue.remove_excess())
    return len(workshop.queue) <= 16
