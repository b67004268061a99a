"""The threads that talk to providers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, cast

import pytest
from sqlalchemy.pool import QueuePool

from service.channels.base import (
    Account,
    BlockedError,
    PermanentError,
    RetryableError,
    SendError,
    UncertainError,
)
from service.core import dispatchers
from service.core.deliveries.claims import Claimed
from service.core.deliveries.transitions import Outcome
from service.core.verdicts import Hold, Verdict
from service.database import now_ms
from service.dispatch.campaigns import Campaign
from service.dispatch.crew import Crew
from service.dispatch.gate import Gate
from service.dispatch.lease import Lease
from service.dispatch.recorder import Recorder
from service.dispatch.retry import Policy
from service.dispatch.sender import Senders
from service.dispatch.stock import Stock, Work
from tests.probe import Call, Probe, ProbeOfMany, Stage
from tests.waiting import until
from tests.world import World

BROADCAST, SESSION = "b" * 18 + "0" * 6, "5" * 24
POLICY = Policy(
    max_attempts=3, retry_base=1.0, retry_cap=1.0, expires_at=now_ms() + 3_600_000, resend=False
)


class Kept(Recorder):
    """A recorder that keeps what it is given and writes nothing."""

    def __init__(self, world: World) -> None:
        super().__init__(world.settings, world.database)
        self.given: list[Verdict] = []

    def put(self, claim_id: str, verdicts: Iterable[Verdict]) -> None:
        del claim_id
        self.given.extend(verdicts)

    def outcomes(self) -> dict[str, Outcome]:
        return {verdict.outcome.id: verdict.outcome for verdict in list(self.given)}


class Workshop:
    """Sender threads with all they need and nothing else: no claimer, no sweep, no heartbeat."""

    def __init__(self, world: World, threads: int = 2) -> None:
        self.recorder = Kept(world)
        self.lease = Lease(world.database, 30.0)
        self.lease.join()
        self.gate = Gate()
        self.stock = Stock(threads, 1000)
        self.senders = Senders(threads, self.stock, self.recorder, self.lease, self.gate)
        account: Any = Account(SESSION, {}, cast("Any", None)), None
        self._driver, self._driver_of_many = Probe(*account), ProbeOfMany(*account)
        self._numbers = count(1)

    def work(self, says: str = "Hello", moment: int = 0, **claimed: Any) -> Work:
        """Return a claimed delivery of as many parts as there are words."""
        parts = tuple(says.split())
        campaign = Campaign(BROADCAST, SESSION, self._driver, parts, POLICY)
        delivery_id = f"{BROADCAST[:18]}{next(self._numbers):06x}"
        delivery = Claimed(delivery_id, BROADCAST, "2348179803743", 0, None)._replace(**claimed)
        return Work(delivery, campaign, self.lease.id, moment, 10_000 if moment else 0)

    def works(self, says: Iterable[str]) -> list[Work]:
        """Return claimed deliveries of a broadcast whose driver sends many, one for each word.

        The word is the recipient, too.
        """
        driver = self._driver_of_many
        campaign = Campaign(BROADCAST, SESSION, driver, ("Hello",), POLICY, driver)
        return [self.work(recipient=each)._replace(campaign=campaign) for each in says]

    def do(self, *works: Work) -> list[Outcome]:
        """Have deliveries sent; return what became of them, in their order."""
        self.stock.add(list(works))
        return self.await_all(works)

    def await_all(self, works: Iterable[Work]) -> list[Outcome]:
        """Return what became of deliveries as soon as it is known of all, in their order."""
        ids = [each.delivery.id for each in works]
        until(lambda: self.recorder.outcomes().keys() >= set(ids))
        return [self.recorder.outcomes()[each] for each in ids]

    def close(self) -> None:
        self.stock.close()
        assert self.senders.join(time.monotonic() + 60) == 0


@pytest.fixture
def large(world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """Return a workshop in which each thread has some messages under way."""
    del stage
    monkeypatch.setattr(Crew, "share", 8)
    workshop = Workshop(world, threads=2)
    yield workshop
    workshop.close()


@pytest.fixture
def workshop(world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    del stage
    # The machine may have other things to do.
    monkeypatch.setattr("service.dispatch.pacing.LATE", 1_000_000)
    workshop = Workshop(world)
    workshop.senders.start()
    yield workshop
    workshop.close()


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


def test_parts_are_sent_in_their_order_each_under_its_own_reference(
    stage: Stage, workshop: Workshop
) -> None:
    work = workshop.work("one two three")
    (outcome,) = workshop.do(work)
    references = [f"{work.delivery.id}.{number}" for number in range(3)]
    assert [call.body for call in stage.calls] == ["one", "two", "three"]
    assert [call.reference for call in stage.calls] == references
    assert outcome.status == "sent"
    assert outcome.message_ids == " ".join(f"id-{reference}" for reference in references)


def test_parts_that_were_taken_before_are_not_sent_again(stage: Stage, workshop: Workshop) -> None:
    (outcome,) = workshop.do(workshop.work("one two three", message_ids="first second"))
    assert [call.body for call in stage.calls] == ["three"]
    assert (outcome.message_ids or "").startswith("first second id-")


def test_a_part_that_fails_keeps_those_before_it(stage: Stage, workshop: Workshop) -> None:
    stage.send = failing_at("two", RetryableError("A passing fault."))
    (outcome,) = workshop.do(workshop.work("one two three"))
    assert (outcome.status, outcome.tried, outcome.message_ids) == ("queued", 1, "id-one")
    assert [call.body for call in stage.calls] == ["one", "two"]


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
    stage: Stage, workshop: Workshop
) -> None:
    """The wait is where a process is most likely to be when it is frozen."""

    def send(call: Call) -> str:
        threading.Timer(0.02, workshop.lease.leave).start()
        return f"id-{call.body}"

    stage.send = send
    workshop.stock.pacer.start()
    work = workshop.work("one two", time.time_ns() // 1000)._replace(interval=300_000)
    (outcome,) = workshop.do(work)
    workshop.stock.pacer.stop()
    assert [call.body for call in stage.calls] == ["one"]
    assert (outcome.status, outcome.message_ids) == ("queued", "id-one")


def test_a_hold_stops_what_lies_claimed(stage: Stage, workshop: Workshop) -> None:
    workshop.gate.shut(Hold("Refused.", broadcast_id=BROADCAST))
    (outcome,) = workshop.do(workshop.work())
    assert (outcome.status, outcome.tried) == ("queued", 0)
    assert stage.calls == []


def test_the_first_word_of_a_blocked_account_stops_the_rest(
    stage: Stage, workshop: Workshop
) -> None:
    stage.send = failing_at("Hello", BlockedError("Logged out."))
    outcomes = workshop.do(*(workshop.work() for _ in range(50)))
    assert {(outcome.status, outcome.tried) for outcome in outcomes} == {("queued", 0)}
    # Each of the two threads may have been under way.
    assert len(stage.calls) <= 2


@pytest.mark.parametrize(
    "error",
    [
        KeyError("a defect"),
        RetryableError("Come back at the end of time.", wait=math.inf),
        RetryableError("Come back some time.", wait=math.nan),
        SendError(None),  # type: ignore[arg-type]
        SendError("No code.", code=None),  # type: ignore[arg-type]
        RecursionError(),
        MemoryError(),
    ],
)
def test_a_thread_does_not_die_of_what_a_driver_raises(
    stage: Stage, workshop: Workshop, error: Exception
) -> None:
    stage.send = failing_at("bad", error)
    outcomes = workshop.do(*(workshop.work("bad") for _ in range(5)), workshop.work("good"))
    assert workshop.senders.alive() == 2
    assert [outcome.status for outcome in outcomes][-1] == "sent"
    assert {(outcome.status, outcome.tried) for outcome in outcomes[:-1]} <= {
        ("queued", 1),
        ("failed", 1),
    }


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, "- -"),
        ("", "- -"),
        (17, "17 17"),
        ("two words", "twowords twowords"),
        ("nul\0\ud800", "nul? nul?"),
    ],
)
def test_a_thread_does_not_die_of_what_a_driver_returns(
    stage: Stage, workshop: Workshop, given: object, kept: str
) -> None:
    stage.send = lambda _call: given
    (outcome,) = workshop.do(workshop.work("one two"))
    assert (outcome.status, outcome.message_ids) == ("sent", kept)
    assert workshop.senders.alive() == 2


def test_a_delivery_that_missed_its_slot_goes_back_for_another(
    stage: Stage, workshop: Workshop
) -> None:
    workshop.stock.pacer.start()
    long_ago = time.time_ns() // 1000 - 5_000_000
    (outcome,) = workshop.do(workshop.work(moment=long_ago))
    workshop.stock.pacer.stop()
    assert (outcome.status, outcome.tried) == ("queued", 0)
    assert stage.calls == []


def test_the_parts_of_a_delivery_keep_the_rate_among_themselves(
    stage: Stage, workshop: Workshop
) -> None:
    moments: list[int] = []

    def send(_call: Call) -> str:
        moments.append(time.time_ns() // 1000)
        return "id"

    stage.send = send
    workshop.stock.pacer.start()
    work = workshop.work("one two three", time.time_ns() // 1000)
    workshop.do(work)
    workshop.stock.pacer.stop()
    slots = [work.moment + number * work.interval for number in range(3)]
    assert all(moment >= slot for moment, slot in zip(moments, slots, strict=True))


def failing_at(word: str, error: Exception) -> Any:
    """Return a way of sending that fails at one word."""

    def send(call: Call) -> str:
        if call.body == word:
            raise error
        return f"id-{call.body}"

    return send


def test_deliveries_are_sent_at_once_and_each_is_judged_by_its_own_answer(
    stage: Stage, large: Workshop
) -> None:
    refused = BlockedError("Slow down.", wait=60.0)
    errors = {"gone": PermanentError("Unknown."), "lost": UncertainError("Lost."), "busy": refused}

    def send(call: Call) -> str:
        if call.recipient in errors:
            raise errors[call.recipient]
        return f"id-{call.reference}"

    stage.send = send
    large.stock.add(works := large.works(["anna", "gone", "lost", "busy", "bert"]))
    large.senders.start()
    outcomes = large.await_all(works)
    assert stage.at_once == [5]
    assert [(outcome.status, outcome.tried) for outcome in outcomes] == [
        ("sent", 1), ("failed", 1), ("uncertain", 1), ("queued", 0), ("sent", 1)
    ]  # fmt: skip
    assert outcomes[0].message_ids == f"id-{works[0].delivery.id}.0"
    assert {call.reference for call in stage.calls} == {f"{w.delivery.id}.0" for w in works}
    assert not large.gate.is_open(SESSION, BROADCAST)


def test_no_more_are_under_way_than_there_are_threads(stage: Stage, large: Workshop) -> None:
    large.stock.add(works := large.works(["anna"] * 100))
    large.senders.start()
    large.await_all(works)
    assert max(stage.at_once) <= 8
    assert len(stage.calls) == 100


def test_where_not_many_can_be_sent_now_they_go_one_by_one(stage: Stage, large: Workshop) -> None:
    stage.may_send_many = lambda: False
    large.stock.add(works := large.works(["anna"] * 20))
    large.senders.start()
    assert {outcome.status for outcome in large.await_all(works)} == {"sent"}
    assert (len(stage.calls), stage.at_once) == (20, [])


@pytest.fixture
def doubted(large: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """Return the same, with a session whose provider did not answer."""
    with monkeypatch.context() as patch:
        patch.setattr("service.dispatch.credit.PATIENCE", 0.0)
        large.stock.credit.ask(SESSION)
        large.stock.credit.refused()
    return large


def test_a_session_that_is_doubted_gets_one_at_a_time(stage: Stage, doubted: Workshop) -> None:
    doubted.stock.add(works := doubted.works(["anna"] * 5))
    doubted.senders.start()
    doubted.await_all(works)
    assert (len(stage.calls), stage.at_once) == (5, [])


def test_what_a_thread_has_taken_and_not_begun_goes_back_when_this_process_ends(
    stage: Stage, doubted: Workshop
) -> None:
    def send(call: Call) -> str:
        doubted.stock.close()
        return call.reference

    stage.send = send
    doubted.stock.add(works := doubted.works(["anna"] * 8))
    doubted.senders.start()
    statuses = [outcome.status for outcome in doubted.await_all(works)]
    assert (statuses, len(stage.calls)) == (["sent"] + ["queued"] * 7, 1)


def test_a_thread_does_not_die_of_a_defect_in_sending_many(stage: Stage, large: Workshop) -> None:
    def defect(_call: Call) -> str:
        raise ZeroDivisionError

    stage.send = defect
    large.stock.add(works := large.works(["anna"] * 5))
    large.senders.start()
    outcomes = large.await_all(works)
    assert {(outcome.status, outcome.code) for outcome in outcomes} == {
        ("queued", "internal_error")
    }
    assert large.senders.alive() == 2
