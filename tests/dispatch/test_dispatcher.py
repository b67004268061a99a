"""A broadcast from its row to the provider and back, by all the threads of one process."""

from __future__ import annotations

import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from service.channels.base import Account
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UncertainError,
)
from service.core import broadcasts, holding
from service.database import Database, now_ms
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.sending import ledger
from service.dispatch.sending.claimer import Claimer
from service.dispatch.sending.sender import Senders
from service.models import DeliveryStatus, OnUncertain
from tests.conftest import on_sqlite
from tests.dispatch.conftest import marked
from tests.probe import Call, Stage
from tests.waiting import until
from tests.world import ADA, GRACE, JOAN, World, numbers

QUICK = {
    "in_flight": 4,
    "poll_interval": 0.1,
    "sweep_interval": 0.1,
    "flush_interval": 0.01,
    "retry_base": 0.02,
    "retry_cap": 0.04,
    "max_attempts": 3,
}

Start = Callable[..., Dispatcher]


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    """Return what starts a dispatcher, which stops with the test."""
    running: list[Dispatcher] = []

    def run(**changes: object) -> Dispatcher:
        dispatcher = world.dispatcher(**{**QUICK, **changes})
        dispatcher.start()
        running.append(dispatcher)
        return dispatcher

    yield run
    for dispatcher in running:
        dispatcher.stop(60)


class Door:
    """A way of sending that waits until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, call: Call) -> str:
        self.waiting.release()
        assert self._open.wait(60)
        return f"id-{call.reference}"

    def open(self) -> None:
        self._open.set()


def failing(errors: dict[str, list[SendError]]) -> Callable[[Call], str]:
    """Return a way of sending that raises what is listed for a recipient, one after the other."""

    def send(call: Call) -> str:
        if left := errors.get(call.recipient):
            raise left.pop(0)
        return f"id-{call.reference}"

    return send


# The straight way


def test_everybody_gets_every_part_once(world: World, stage: Stage, start: Start) -> None:
    world.session("probe")
    broadcast_id = world.broadcast(numbers(300), "two words")
    start()
    world.await_status(broadcast_id, "completed")
    assert Counter(stage.recipients()) == dict.fromkeys(numbers(300), 2)
    assert len({call.reference for call in stage.calls}) == 600
    assert world.statuses(broadcast_id) == {"sent": 300}
    assert {row.attempts for row in world.deliveries(broadcast_id)} == {1}
    world.assert_counters_equal_rows([broadcast_id])


def test_a_broadcast_is_sent_as_soon_as_the_dispatcher_is_woken(
    world: World, stage: Stage, start: Start
) -> None:
    del stage
    world.session("probe")
    dispatcher = start(poll_interval=3600.0, sweep_interval=3600.0)
    until(lambda: dispatcher.problem() is None)
    broadcast_id = world.broadcast([ADA])
    dispatcher.wake()
    world.await_status(broadcast_id, "completed")


def test_a_small_broadcast_does_not_wait_for_a_large_one_before_it(
    world: World, stage: Stage, start: Start
) -> None:
    let_in = threading.Semaphore(0)

    def send(call: Call) -> str:
        assert call.recipient in {ADA, GRACE} or let_in.acquire(timeout=60)
        return f"id-{call.reference}"

    def is_sent_while_some_are_let_in() -> bool:
        let_in.release(4)
        return world.get(small).status == "completed"

    stage.send = send
    world.session("probe")
    large = world.broadcast(numbers(2_000))
    dispatcher = start()
    until(lambda: len(stage.calls) == 4)
    small = world.broadcast([ADA, GRACE])
    dispatcher.wake()
    until(is_sent_while_some_are_let_in)
    assert world.get(large).status == "sending"
    let_in.release(2_000)
    world.await_status(large, "completed")


# What goes wrong for one recipient


def test_who_cannot_be_reached_fails_alone_and_at_once(
    world: World, stage: Stage, start: Start
) -> None:
    stage.send = failing({GRACE: [PermanentError("Not on the channel.", code="absent")]})
    world.session("probe")
    broadcast_id = world.broadcast([ADA, GRACE, JOAN])
    start()
    world.await_status(broadcast_id, "completed")
    rows = world.deliveries(broadcast_id)
    assert [row.status for row in rows] == ["sent", "failed", "sent"]
    assert (rows[1].code, rows[1].reason) == ("absent", "Not on the channel.")
    assert Counter(stage.recipients()) == {ADA: 1, GRACE: 1, JOAN: 1}


def test_a_passing_fault_is_tried_again(world: World, stage: Stage, start: Start) -> None:
    stage.send = failing({GRACE: [RetryableError("A passing fault."), KeyError("a defect")]})  # type: ignore[list-item]
    world.session("probe")
    broadcast_id = world.broadcast([ADA, GRACE])
    start()
    world.await_status(broadcast_id, "completed")
    rows = world.deliveries(broadcast_id)
    assert [(row.status, row.attempts) for row in rows] == [("sent", 1), ("sent", 3)]
    assert rows[1].reason is None


@pytest.mark.parametrize("error", [RetryableError("A fault."), ValueError("a defect")])
def test_what_fails_at_every_attempt_fails_in_the_end(
    world: World, stage: Stage, start: Start, error: Exception
) -> None:
    def send(_call: Call) -> str:
        raise error

    stage.send = send
    world.session("probe")
    broadcast_id = world.broadcast([ADA])
    start()
    world.await_status(broadcast_id, "completed")
    (row,) = world.deliveries(broadcast_id)
    assert (row.status, row.attempts) == ("failed", 3)
    assert "after 3 attempts" in (row.reason or "")
    assert len(stage.calls) == 3


def test_a_session_may_have_its_own_number_of_attempts(
    world: World, stage: Stage, start: Start
) -> None:
    stage.send = failing({ADA: [RetryableError("A fault.")] * 9})
    world.session("probe", max_attempts=1)
    broadcast_id = world.broadcast([ADA])
    start()
    world.await_status(broadcast_id, "completed")
    assert len(stage.calls) == 1


def test_a_delivery_resumes_at_the_part_that_failed(
    world: World, stage: Stage, start: Start
) -> None:
    stage.send = failing({ADA: []})
    faults = [RetryableError("A fault."), RetryableError("A fault.")]

    def send(call: Call) -> str:
        if call.body == "three" and faults:
            raise faults.pop()
        return f"id-{call.body}"

    stage.send = send
    world.session("probe")
    broadcast_id = world.broadcast([ADA], "one two three four")
    start()
    world.await_status(broadcast_id, "completed")
    assert [call.body for call in stage.calls] == ["one", "two", "three", "three", "three", "four"]
    assert world.deliveries(broadcast_id)[0].message_ids == "id-one id-two id-three id-four"


def test_a_provider_that_names_a_wait_is_not_asked_earlier(
    world: World, stage: Stage, start: Start
) -> None:
    moments: list[float] = []

    def send(_call: Call) -> str:
        moments.append(time.time())
        if len(moments) == 1:
            raise RetryableError("Too many.", wait=0.4)
        return "id"

    stage.send = send
    world.session("probe")
    broadcast_id = world.broadcast([ADA])
    start()
    world.await_status(broadcast_id, "completed")
    assert moments[1] - moments[0] >= 0.399


# What may or may not have arrived


def test_an_uncertain_delivery_is_held_and_settled_by_a_retry(
    world: World, stage: Stage, start: Start
) -> None:
    stage.send = failing({ADA: [UncertainError("No answer came.", code="timeout")]})
    world.session("probe")
    broadcast_id = world.broadcast([ADA, GRACE])
    dispatcher = start()
    world.await_status(broadcast_id, "completed")
    rows = world.deliveries(broadcast_id)
    assert [(row.status, row.code) for row in rows] == [("uncertain", "timeout"), ("sent", None)]
    assert Counter(stage.recipients()) == {ADA: 1, GRACE: 1}
    with world.database.writing() as db:
        broadcasts.retry(
            db,
            world.client_id,
            broadcast_id,
            [DeliveryStatus.UNCERTAIN],
            accounts=world.accounts,
            now=now_ms(),
        )
    dispatcher.wake()
    until(lambda: world.statuses(broadcast_id) == {"sent": 2})
    world.await_status(broadcast_id, "completed")
    assert Counter(stage.recipients()) == {ADA: 2, GRACE: 1}
    world.assert_counters_equal_rows([broadcast_id])


@pytest.mark.parametrize(
    ("harmless", "on_uncertain"), [(True, OnUncertain.HOLD), (False, OnUncertain.RESEND)]
)
def test_an_uncertain_part_is_offered_again_where_that_is_harmless_or_chosen(
    world: World,
    stage: Stage,
    start: Start,
    harmless: bool,  # noqa: FBT001 - pytest passes it by name
    on_uncertain: OnUncertain,
) -> None:
    known_as = "id-of-ours" if harmless else ""
    stage.send = failing({ADA: [UncertainError("No answer came.", provider_id=known_as)]})
    world.session("probe", on_uncertain=on_uncertain)
    broadcast_id = world.broadcast([ADA])
    start()
    world.await_status(broadcast_id, "completed")
    assert world.statuses(broadcast_id) == {"sent": 1}
    assert len({call.reference for call in stage.calls}) == 1
    assert len(stage.calls) == 2


# What is wrong with an account or a message


def test_a_blocked_account_burns_nobody(world: World, stage: Stage, start: Start) -> None:
    blocked = threading.Event()
    blocked.set()

    def send(call: Call) -> str:
        if blocked.is_set():
            raise BlockedError("The phone is not linked.")
        return f"id-{call.reference}"

    stage.send = send
    session_id = world.session("probe")
    broadcast_id = world.broadcast(numbers(100))
    dispatcher = start()
    until(lambda: world.get_session(session_id).status == "blocked")
    until(lambda: world.statuses(broadcast_id) == {"queued": 100})
    assert world.get_session(session_id).reason == "The phone is not linked."
    assert {row.attempts for row in world.deliveries(broadcast_id)} == {0}
    assert len(stage.calls) <= QUICK["in_flight"]
    blocked.clear()
    with world.database.writing() as db:
        holding.release_session(db, session_id, now=now_ms())
    dispatcher.wake()
    world.await_status(broadcast_id, "completed")
    assert world.statuses(broadcast_id) == {"sent": 100}
    assert {row.attempts for row in world.deliveries(broadcast_id)} == {1}


def test_a_throttled_account_goes_on_by_itself_when_it_may(
    world: World, stage: Stage, start: Start
) -> None:
    moments: list[float] = []

    def send(_call: Call) -> str:
        moments.append(time.time())
        if len(moments) == 1:
            raise BlockedError("Slow down.", wait=0.4)
        return "id"

    stage.send = send
    session_id = world.session("probe")
    broadcast_id = world.broadcast(numbers(20))
    start(in_flight=1)
    world.await_status(broadcast_id, "completed")
    assert moments[1] - moments[0] >= 0.399
    assert world.statuses(broadcast_id) == {"sent": 20}
    until(lambda: world.get_session(session_id).status == "ready")


def test_one_blocked_session_does_not_hold_another(
    world: World, stage: Stage, start: Start
) -> None:
    def send(call: Call) -> str:
        if call.body == "blocked":
            raise BlockedError("Logged out.")
        return "id"

    stage.send = send
    bad, good = world.session("probe"), world.session("probe")
    waiting = world.broadcast(numbers(50), "blocked", session_id=bad)
    going = world.broadcast(numbers(50), "good", session_id=good)
    start()
    world.await_status(going, "completed")
    assert world.get(waiting).status == "sending"


def test_a_session_that_cannot_be_opened_does_not_hold_another(
    world: World, stage: Stage, start: Start
) -> None:
    broken, healthy = world.session("probe"), world.session("probe")
    waiting = world.broadcast(numbers(50), session_id=broken)
    going = world.broadcast(numbers(50), session_id=healthy)

    def fail(account: Account) -> None:
        if account.session_id == broken:
            raise ValueError("its key is gone")

    stage.open = fail
    dispatcher = start()
    world.await_status(going, "completed")
    until(lambda: world.get_session(broken).status == "blocked")
    assert set(world.statuses(waiting)) == {"queued"}
    assert dispatcher.problem() is None


def test_a_refused_message_is_paused_before_everybody_is_refused(
    world: World, stage: Stage, start: Start
) -> None:
    refused = threading.Event()
    refused.set()

    def send(call: Call) -> str:
        if refused.is_set():
            raise RequestError("The template does not exist.", code="132001")
        return f"id-{call.reference}"

    stage.send = send
    world.session("probe")
    broadcast_id = world.broadcast(numbers(200))
    dispatcher = start()
    world.await_status(broadcast_id, "paused")
    until(lambda: "sending" not in world.statuses(broadcast_id))
    assert world.get(broadcast_id).reason == "The template does not exist."
    # The first refusal pauses the broadcast; who was under way with it goes back.
    burnt = world.statuses(broadcast_id)["failed"]
    assert burnt == 1 <= len(stage.calls) <= QUICK["in_flight"]
    refused.clear()
    with world.database.writing() as db:
        broadcasts.resume(db, world.client_id, broadcast_id, now=now_ms())
    dispatcher.wake()
    world.await_status(broadcast_id, "completed")
    assert world.statuses(broadcast_id) == {"failed": burnt, "sent": 200 - burnt}


# What the client decides


def test_what_is_deleted_in_mid_run_is_sent_no_further(
    world: World, stage: Stage, start: Start
) -> None:
    door = Door()
    stage.send = door
    world.session("probe")
    broadcast_id = world.broadcast(numbers(500))
    start()
    for _ in range(4):
        door.waiting.acquire()
    with world.database.writing() as db:
        broadcasts.delete(db, world.client_id, broadcast_id, now=now_ms())
    door.open()
    until(lambda: world.get(broadcast_id).closed_at)
    rows = world.statuses(broadcast_id)
    assert world.get(broadcast_id).status == "cancelled"
    assert rows["sent"] == len(stage.calls) <= 4 + 8
    assert rows["cancelled"] == 500 - rows["sent"]
    world.assert_counters_equal_rows([broadcast_id])


def test_what_is_paused_in_mid_run_waits_until_it_is_resumed(
    world: World, stage: Stage, start: Start
) -> None:
    door = Door()
    stage.send = door
    world.session("probe")
    broadcast_id = world.broadcast(numbers(500))
    dispatcher = start()
    for _ in range(4):
        door.waiting.acquire()
    with world.database.writing() as db:
        broadcasts.pause(db, world.client_id, broadcast_id, now=now_ms())
    door.open()
    until(lambda: "sending" not in world.statuses(broadcast_id))
    assert len(stage.calls) <= 4 + 8
    assert world.get(broadcast_id).status == "paused"
    with world.database.writing() as db:
        broadcasts.resume(db, world.client_id, broadcast_id, now=now_ms())
    dispatcher.wake()
    world.await_status(broadcast_id, "completed")
    assert Counter(stage.recipients()) == dict.fromkeys(numbers(500), 1)


def test_a_scheduled_broadcast_is_not_sent_before_its_time(
    world: World, stage: Stage, start: Start
) -> None:
    moments: list[int] = []

    def send(_call: Call) -> str:
        moments.append(now_ms())
        return "id"

    stage.send = send
    world.session("probe")
    send_at = now_ms() + 400
    broadcast_id = world.broadcast([ADA, GRACE], send_at=send_at)
    start()
    world.await_status(broadcast_id, "completed")
    assert min(moments) >= send_at


def test_what_has_expired_in_mid_run_is_sent_no_further(
    world: World, stage: Stage, start: Start
) -> None:
    door = Door()
    stage.send = door
    world.session("probe")
    broadcast_id = world.broadcast(numbers(100), expires_at=now_ms() + 500)
    start()
    until(lambda: world.statuses(broadcast_id).get("failed", 0) >= 90)
    door.open()
    world.await_status(broadcast_id, "completed")
    rows = world.statuses(broadcast_id)
    assert rows.get("sent", 0) == len(stage.calls)
    assert rows["failed"] == 100 - len(stage.calls)


# Pacing


def test_a_session_is_not_sent_for_faster_than_its_rate(
    world: World, stage: Stage, start: Start
) -> None:
    moments: list[float] = []

    def send(_call: Call) -> str:
        moments.append(time.time())
        return "id"

    stage.send = send
    world.session("probe", rate=40.0)
    broadcast_id = world.broadcast(numbers(30), "two words")
    start()
    world.await_status(broadcast_id, "completed")
    # A send may come up to a fifth of a second after its slot.
    assert max(moments) - min(moments) >= 59 / 40 - 0.2
    assert most_in_a_second(moments) <= 1.2 * 40 + 1


@on_sqlite
def test_what_piled_up_behind_a_slow_provider_does_not_go_out_at_once(
    world: World, stage: Stage, start: Start
) -> None:
    door, moments = Door(), list[float]()

    def send(call: Call) -> str:
        moments.append(time.time())
        return door(call)

    stage.send = send
    session_id = world.session("probe", rate=8.0)
    broadcast_id = world.broadcast(numbers(30))
    start()
    # All threads are in a call, and the slots of another second have passed meanwhile.
    for _ in range(4):
        door.waiting.acquire()
    began = now_ms()
    until(lambda: now_ms() - began > 1_500)
    opened_at = time.time()
    door.open()
    until(lambda: world.get(broadcast_id).sent >= 14)
    after = [moment for moment in moments if moment >= opened_at]
    assert most_in_a_second(after) <= 1.2 * 8 + 1
    with world.database.writing() as db:
        broadcasts.delete(db, world.client_id, broadcast_id, now=now_ms())
    assert world.get_session(session_id).status == "ready"


# The end


def test_a_stopping_process_lets_sends_finish_and_gives_the_rest_back(
    world: World, stage: Stage, start: Start
) -> None:
    door = Door()
    stage.send = door
    world.session("probe")
    broadcast_id = world.broadcast(numbers(100))
    dispatcher = start()
    for _ in range(4):
        door.waiting.acquire()
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(dispatcher.stop, 60)
        until(lambda: world.statuses(broadcast_id) == {"sending": 4, "queued": 96})
        door.open()
        assert stopping.result()
    rows = world.statuses(broadcast_id)
    assert rows == {"sent": len(stage.calls), "queued": 100 - len(stage.calls)}
    assert world.ask("SELECT * FROM dispatchers") == []
    world.assert_counters_equal_rows([broadcast_id])
    start()
    world.await_status(broadcast_id, "completed")
    assert Counter(stage.recipients()) == dict.fromkeys(numbers(100), 1)


def test_a_process_told_to_drain_claims_no_more(
    world: World, stage: Stage, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_claim_is_over, turn = threading.Event(), Claimer.turn

    def told_turn(claimer: Claimer) -> float:
        if claimer.draining:
            last_claim_is_over.set()
        return turn(claimer)

    monkeypatch.setattr(Claimer, "turn", told_turn)
    door = Door()
    stage.send = door
    world.session("probe")
    first = world.broadcast(numbers(4))
    dispatcher = start()
    for _ in range(4):
        door.waiting.acquire()
    dispatcher.drain()
    assert last_claim_is_over.wait(60)
    second = world.ready(numbers(10))
    dispatcher.wake()
    door.open()
    world.await_status(first, "completed")
    assert dispatcher.stop(60)
    assert world.statuses(second) == {"queued": 10}


def test_sends_that_do_not_end_in_time_are_left_to_others(
    world: World, stage: Stage, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time is over for the sends at once, and not for what is to be written.
    join = Senders.join
    monkeypatch.setattr(Senders, "join", lambda senders, _deadline: join(senders, 0.0))
    door = Door()
    stage.send = door
    world.session("probe")
    broadcast_id = world.broadcast(numbers(10))
    dispatcher = start()
    for _ in range(4):
        door.waiting.acquire()
    assert not dispatcher.stop(0.1, least=60.0)
    assert world.statuses(broadcast_id) == {"sending": 4, "queued": 6}
    start()
    until(lambda: world.statuses(broadcast_id).get("uncertain") == 4)
    door.open()
    world.await_status(broadcast_id, "completed")
    assert world.statuses(broadcast_id) == {"uncertain": 4, "sent": 6}
    assert Counter(stage.recipients()) == dict.fromkeys(numbers(10), 1)


def test_a_stop_without_a_database_is_late_but_no_failure(world: World, stage: Stage) -> None:
    door = Door()
    stage.send = door
    world.session("probe")
    broadcast_id = world.broadcast([ADA])
    database = Database(replace(world.settings, database_timeout=1.0))
    settings = replace(world.settings, **QUICK)  # type: ignore[arg-type]
    dispatcher = Dispatcher(settings, database, world.accounts)
    dispatcher.start()
    door.waiting.acquire()
    with world.database.writing() as db:
        db.execute(text("UPDATE broadcasts SET reason = 'in the way'"))
        db.execute(text("UPDATE dispatchers SET pid = pid"))
        door.open()
        assert not dispatcher.stop(0.1, least=0.5)
    database.dispose()
    assert world.statuses(broadcast_id) == {"sending": 1}


def test_what_could_not_be_given_back_at_the_end_is_known_as_untouched(
    world: World, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    del stage
    # The second one is claimed for a slot that comes in an hour, and the first one is never late.
    monkeypatch.setattr("service.dispatch.sending.pacing.HORIZON", 7_200_000_000)
    monkeypatch.setattr("service.dispatch.sending.pacing.LATE", 60_000_000)
    world.session("probe", rate=1 / 3_600)
    broadcast_id = world.broadcast(numbers(2))
    database = Database(replace(world.settings, database_timeout=1.0))
    settings = replace(world.settings, **QUICK)  # type: ignore[arg-type]
    dispatcher = Dispatcher(settings, database, world.accounts)
    dispatcher.start()
    until(lambda: world.statuses(broadcast_id) == {"sent": 1, "sending": 1})
    with world.database.writing() as db:
        db.execute(text("UPDATE deliveries SET attempts = attempts"))
        db.execute(text("UPDATE dispatchers SET pid = pid"))
        assert not dispatcher.stop(0.0, least=0.5)
    database.dispose()
    assert world.statuses(broadcast_id) == {"sent": 1, "sending": 1}
    (name,) = ledger.kept(world.settings.ledgers_dir)
    assert ledger.under_way(world.settings.ledgers_dir, name) == set()


def test_a_dispatcher_that_was_never_started_stops_at_once(world: World) -> None:
    dispatcher = world.dispatcher()
    assert dispatcher.stop(0)
    assert "has not started" in str(dispatcher.problem())


def test_a_running_dispatcher_has_no_problem(stage: Stage, start: Start) -> None:
    del stage
    assert start().problem() is None


def test_a_dispatcher_says_when_it_may_not_send(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    del world
    dispatcher = start(lease=3600.0)
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 3_000)
    assert "sends nothing" in str(dispatcher.problem())


def test_a_session_has_no_more_under_way_than_it_may(
    world: World, stage: Stage, start: Start
) -> None:
    door = Door()
    stage.send = door
    session_id = world.session("probe", concurrency=2)
    broadcast_id = world.broadcast(numbers(20), session_id=session_id)
    start(in_flight=64)
    other = world.broadcast([ADA], session_id=world.session("probe"))
    for _ in range(3):
        door.waiting.acquire()
    assert Counter(each.reference[:18] for each in stage.calls) == {
        broadcast_id[:18]: 2,
        other[:18]: 1,
    }
    door.open()
    world.await_status(broadcast_id, "completed")


def test_what_is_paused_is_recalled_from_where_it_lies_claimed(
    world: World, stage: Stage, start: Start
) -> None:
    door = Door()
    stage.send = door
    world.session("probe")
    broadcast_id = world.broadcast(numbers(100))
    start()
    until(lambda: world.statuses(broadcast_id).get("sending", 0) > 4)
    with world.database.writing() as db:
        broadcasts.pause(db, world.client_id, broadcast_id, now=now_ms())
    until(lambda: world.statuses(broadcast_id) == {"sending": 4, "queued": 96})
    door.open()
    until(lambda: world.statuses(broadcast_id) == {"sent": 4, "queued": 96})


def test_a_setting_of_many_threads_starts_few_and_says_what_to_set_instead(
    stage: Stage, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    del stage
    start(sender_threads=256)
    senders = [each for each in threading.enumerate() if each.name.startswith("crier-sender")]
    assert len(senders) == 8
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "SENDER_THREADS" in each]
    assert "IN_FLIGHT" in line


def test_a_process_has_few_threads(stage: Stage, start: Start) -> None:
    del stage
    before = set(threading.enumerate())
    start(in_flight=512)
    names = Counter(each.name for each in set(threading.enumerate()) - before)
    # One that only opens a connection ends at once.
    lasting = {name: count for name, count in names.items() if name != "crier-resolver"}
    assert all(name.startswith("crier-") for name in lasting), lasting
    assert set(lasting.values()) == {1}
    assert len(lasting) <= 15
    assert [name for name in lasting if "sender" in name] == ["crier-sender-0"]


def test_each_message_under_way_has_a_descriptor(stage: Stage, start: Start) -> None:
    del stage
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, hard))
    try:
        start(in_flight=512)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 1_024 + 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_keeps_a_ledger_and_removes_it_at_the_end(
    world: World, stage: Stage, start: Start
) -> None:
    door = Door()
    stage.send = door
    world.session("probe")
    broadcast_id = world.broadcast([ADA])
    dispatcher = start()
    door.waiting.acquire()
    folder = world.settings.ledgers_dir
    (name,) = ledger.kept(folder)
    (delivery,) = world.deliveries(broadcast_id)
    assert marked(folder, name) == {delivery.id}
    door.open()
    world.await_status(broadcast_id, "completed")
    until(lambda: marked(folder, name) == set())
    assert dispatcher.stop(60)
    assert ledger.kept(folder) == []


# Several of them


def test_one_that_is_taken_for_dead_sends_nobody_twice(
    world: World, stage: Stage, start: Start
) -> None:
    """Its own sweep, or another's, gives its claims up while its threads are still at them."""
    world.session("probe")
    broadcast_id = world.broadcast(numbers(2_000))
    start(in_flight=64)
    other = start(in_flight=64)
    for sent in (100, 600, 1_100):
        until(lambda sent=sent: world.get(broadcast_id).sent >= sent)  # type: ignore[misc]
        world.tell("DELETE FROM dispatchers")
    world.await_status(broadcast_id, "completed")
    rows = world.statuses(broadcast_id)
    assert rows.keys() <= {"sent", "uncertain"}
    assert max(Counter(stage.recipients()).values()) == 1
    assert len(stage.calls) >= rows["sent"]
    assert other.problem() is None
    world.assert_counters_equal_rows([broadcast_id])


def test_eight_dispatchers_send_everybody_once(world: World, stage: Stage) -> None:
    world.session("probe")
    made = [world.broadcast(numbers(250)) for _ in range(4)]
    settings = replace(world.settings, database_pool_size=2, sender_threads=2)
    databases = [Database(settings) for _ in range(8)]
    dispatchers = [Dispatcher(settings, each, world.accounts) for each in databases]
    for dispatcher in dispatchers:
        dispatcher.start()
    for broadcast_id in made:
        world.await_status(broadcast_id, "completed")
    for dispatcher in dispatchers:
        dispatcher.drain()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda dispatcher: dispatcher.stop(60), dispatchers))
    for database in databases:
        database.dispose()
    assert Counter(call.reference for call in stage.calls).total() == 1_000
    assert len({call.reference for call in stage.calls}) == 1_000
    assert Counter(stage.recipients()) == dict.fromkeys(numbers(250), 4)
    world.assert_counters_equal_rows(made)


def most_in_a_second(moments: list[float]) -> int:
    ordered = sorted(moments)
    return max(sum(first <= moment < first + 1 for moment in ordered) for first in ordered)
