"""Which sessions may occupy a process, and what happens where one's provider does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.dispatch import credit as module
from service.dispatch.credit import Credit
from service.dispatch.stock import Work
from tests.dispatch.test_sender import Workshop
from tests.probe import Call, Stage
from tests.waiting import until
from tests.world import World

ONE, OTHER = "5" * 24, "6" * 24


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wait be too long."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)


def test_a_session_may_have_all_there_is_as_long_as_its_provider_answers() -> None:
    credit = Credit(64)
    for _ in range(100):
        credit.ask(ONE)
    assert credit.look() == 0
    assert credit.free(ONE) is None
    credit.answered(ONE)
    assert credit.free(ONE) is None


def test_a_session_that_keeps_a_thread_waiting_is_doubted_and_no_other(impatient: None) -> None:
    del impatient
    credit = Credit(64)
    credit.ask(ONE)
    assert credit.look() == 1
    assert credit.free(ONE) == 3
    assert credit.free(OTHER) is None


def test_a_doubted_session_has_one_thread_at_least(impatient: None) -> None:
    del impatient
    credit = Credit(2)
    credit.ask(ONE)
    credit.look()
    assert credit.free(ONE) == 0
    credit.refused()
    assert credit.free(ONE) == 1


def test_a_message_that_goes_through_ends_the_doubt(impatient: None) -> None:
    del impatient
    credit = Credit(2)
    credit.ask(ONE)
    credit.look()
    credit.answered(ONE)
    assert credit.free(ONE) is None
    assert credit.look() == 0


def test_only_a_failure_that_took_long_is_a_reason_to_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    credit = Credit(2)
    credit.ask(ONE)
    credit.refused()
    assert credit.free(ONE) is None
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    credit.ask(ONE)
    credit.refused()
    assert credit.free(ONE) == 1
    credit.refused()  # of a delivery that never got as far as its provider
    assert credit.free(ONE) == 1


class Silence:
    """A provider that answers nobody until it is made to."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def __call__(self, call: Call) -> str:
        if call.body == "stuck":
            assert self.ended.wait(60)
        return f"id-{call.reference}"


@pytest.fixture
def silence(stage: Stage) -> Silence:
    stage.send = Silence()
    return stage.send


@pytest.fixture
def workshop(world: World, silence: Silence, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    workshop = Workshop(world)
    workshop.senders.start()
    workshop.senders.watch.start()
    yield workshop
    silence.ended.set()
    workshop.senders.watch.stop()
    workshop.close()


def of(session_id: str, work: Work) -> Work:
    return work._replace(campaign=replace(work.campaign, session_id=session_id))


def test_others_are_sent_while_all_threads_wait_for_one_provider(
    workshop: Workshop, silence: Silence
) -> None:
    stuck = [of(ONE, workshop.work("stuck")) for _ in range(10)]
    workshop.stock.add(stuck)
    fine = [of(OTHER, workshop.work("fine")) for _ in range(10)]
    outcomes = workshop.do(*fine)
    assert {outcome.status for outcome in outcomes} == {"sent"}
    # All of the doubted session that had not begun goes back untried.
    until(lambda: len(workshop.recorder.outcomes()) == 18)
    back = [workshop.recorder.outcomes()[each.delivery.id] for each in stuck[2:]]
    assert {(outcome.status, outcome.tried) for outcome in back} == {("queued", 0)}
    silence.ended.set()
    until(lambda: len(workshop.recorder.outcomes()) == 20)
    assert workshop.stock.credit.free(ONE) is None


def test_spare_threads_are_no_more_than_there_are_others_and_end_with_the_need(
    workshop: Workshop, silence: Silence
) -> None:
    workshop.stock.add([of(ONE, workshop.work("stuck")) for _ in range(2)])
    workshop.do(*(of(OTHER, workshop.work("fine")) for _ in range(3)))
    assert len(workshop.senders.spares()) <= 2
    silence.ended.set()
    until(lambda: len(workshop.recorder.outcomes()) == 5)

    def ended() -> bool:
        workshop.do(of(OTHER, workshop.work("fine")))
        return not workshop.senders.spares()

    until(ended)
    assert workshop.senders.alive() == 2
