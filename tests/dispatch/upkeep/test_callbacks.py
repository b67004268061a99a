"""Events on their way to callbacks: signed, in order, and again after a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from service.core import broadcasts, callbacks, clients, holding, opt_outs, outbox, posting
from service.core.deliveries import transitions
from service.core.deliveries.opted_out import OptOutOwner
from service.core.deliveries.transitions import Outcome
from service.core.posting import PostingSlots
from service.database import now_ms
from service.dispatch.upkeep.callbacks import Callbacks
from service.models import CallbackEvent, DeliveryStatus, EventType
from tests.conftest import on_sqlite
from tests.receiver import Receiver
from tests.waiting import until
from tests.world import ADA, GRACE, World, numbers

HOUR, DAY = 3_600_000, 86_400_000
SENT, FAILED = DeliveryStatus.SENT, DeliveryStatus.FAILED


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@dataclass
class Case:
    """A client with a callback, and the turns that post to it at a time of the test's own."""

    world: World
    receiver: Receiver
    now: int = field(default_factory=now_ms)

    def __post_init__(self) -> None:
        self.world = self.world.with_settings(private_addresses=True)
        self.session_id = self.world.session()
        self.duties = [self.duty(), self.duty()]

    def duty(self) -> Callbacks:
        return Callbacks(self.world.database, self.world.accounts, lambda: self.now, lambda: 1.0)

    def callback(self, *events: EventType, url: str = "") -> tuple[str, str]:
        """Create a callback; return its id and its secret."""
        fields = {"url": url or f"{self.receiver.url}/hook", "events": list(events or EventType)}
        with self.world.database.writing() as db:
            made, secret = callbacks.create(
                db, self.world.client_id, fields, vault=self.world.vault
            )
            return made.id, secret

    def emit(self, subject: str, number: int, at: int | None = None) -> None:
        kind, data = EventType.SESSION_READY, {"number": number}
        at = self.now if at is None else at
        with self.world.database.writing() as db:
            outbox.emit(db, self.world.client_id, kind, subject, data, sequence=number, now=at)

    def go_on(self) -> None:
        """Let both processes post what is due now, until nothing is."""
        for duty in self.duties:
            while duty.turn() == 0.0:
                pass

    def events(self, status: str = "") -> list[CallbackEvent]:
        rows = self.world.ask("SELECT id FROM callback_events ORDER BY created_at, sequence, id")
        with self.world.database.reading() as db:
            found = [db.get_one(CallbackEvent, row.id) for row in rows]
        return [each for each in found if status in {"", each.status}]

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(got.body) for got in self.receiver.got]

    def finish(self) -> None:
        for duty in self.duties:
            duty.close()


@pytest.fixture
def case(world: World, receiver: Receiver) -> Iterator[Case]:
    case = Case(world, receiver)
    yield case
    case.finish()


def record(world: World, broadcast_id: str, *statuses: DeliveryStatus) -> None:
    claimed = world.claim(broadcast_id, len(statuses))
    now = now_ms()
    with world.database.writing() as db:
        outcomes = [
            Outcome(each.id, status, 1, now, now, None, None if status is SENT else "131026", None)
            for each, status in zip(claimed.deliveries, statuses, strict=True)
        ]
        transitions.record(db, claimed.id, outcomes, now=now)


def test_what_happens_is_told_in_the_order_in_which_it_did(case: Case) -> None:
    case.callback()
    broadcast_id = case.world.ready([ADA, GRACE])
    record(case.world, broadcast_id, SENT)
    with case.world.database.writing() as db:
        broadcasts.pause(db, case.world.client_id, broadcast_id, now=now_ms())
        broadcasts.resume(db, case.world.client_id, broadcast_id, now=now_ms())
    record(case.world, broadcast_id, FAILED)
    case.now = now_ms() + 1
    case.go_on()
    told = case.told()
    assert [each["type"] for each in told] == [
        "delivery.updated",
        "broadcast.paused",
        "delivery.updated",
        "broadcast.completed",
    ]
    first, paused, second, completed = (each["data"] for each in told)
    assert [each["status"] for each in first["deliveries"]] == ["sent"]
    assert paused["reason"] == "Paused by the client."
    assert second["deliveries"][0] | {"_id": "", "updatedAt": ""} == {
        "_id": "",
        "recipient": GRACE,
        "status": "failed",
        "code": "131026",
        "reason": None,
        "updatedAt": "",
    }
    assert completed["counts"]["failed"] == 1
    assert {each.status for each in case.events()} == {"delivered"}
    assert case.world.ask("SELECT * FROM callback_queues") == []


def test_holds_and_opt_outs_are_told_once_for_each_change(case: Case) -> None:
    case.callback()
    other = case.world.ready(numbers(1))
    with case.world.database.writing() as db:
        now = now_ms()
        holding.hold_broadcast(db, other, "No such template.", now=now)
        for reason in ("Unpaid.", "Still unpaid."):
            holding.replace_hold(db, case.session_id, reason, until=None, now=now)
        holding.release_session(db, case.session_id, now=now + 1)
        whose = OptOutOwner(case.world.client_id, case.session_id)
        for _ in range(2):
            opt_outs.add(db, whose, ADA, now=now + 2)
    kinds = [(each.type, json.loads(each.body)["data"]) for each in case.events()]
    assert sorted(kind for kind, _ in kinds) == [
        *("broadcast.held", "opt_out.changed", "session.held", "session.ready"),
    ]
    told = dict(kinds)
    assert told["broadcast.held"]["reason"] == "No such template."
    assert told["session.held"]["reason"] == "Unpaid."
    assert told["opt_out.changed"]["opted_out"] is True


def test_a_signature_is_what_standard_webhooks_asks_for(case: Case) -> None:
    _, secret = case.callback()
    case.emit("s" * 24, 1)
    case.go_on()
    [got] = case.receiver.got
    assert Webhook(secret).verify(got.body, got.headers)["data"] == {"number": 1}
    assert got.headers["webhook-id"] == case.events()[0].id
    assert got.headers["content-type"] == "application/json"


@on_sqlite
def test_a_receiver_that_is_down_for_an_hour_gets_every_event_in_order(case: Case) -> None:
    callback_id, _ = case.callback()
    begin = case.now
    case.receiver.answer = lambda _got: 503
    for minute in range(60):
        case.now = begin + minute * 60_000
        case.emit("a" * 24, minute)
        if minute % 2:
            case.emit("b" * 24, minute)
        case.go_on()
    tried = len(case.receiver.got)
    assert 10 < tried < 40
    case.receiver.answer = lambda _got: 204
    case.receiver.got.clear()
    while case.events("waiting"):
        case.now += 60_000
        case.go_on()
    assert case.now < begin + HOUR + 15 * 60_000
    by_subject: dict[str, list[int]] = {"a": [], "b": []}
    subjects = {each.id: each.subject[0] for each in case.events()}
    for got in case.receiver.got:
        number = json.loads(got.body)["data"]["number"]
        by_subject[subjects[got.headers["webhook-id"]]].append(number)
    assert by_subject == {"a": list(range(60)), "b": list(range(1, 60, 2))}
    [row] = case.world.ask("SELECT failing_since FROM callbacks WHERE id = :id", id=callback_id)
    assert row.failing_since is None


def test_one_that_is_refused_holds_up_its_own_broadcast_alone(case: Case) -> None:
    case.callback()
    case.receiver.answer = lambda got: 400 if b'"number": 1}' in got.body else 204
    for number in range(3):
        for subject in ("a" * 24, "b" * 24):
            case.emit(subject, number + (10 if subject[0] == "b" else 0))
    case.go_on()
    delivered = [json.loads(each.body)["data"]["number"] for each in case.events("delivered")]
    assert sorted(delivered) == [0, 10, 11, 12]
    stuck = case.events("waiting")[0]
    assert (stuck.attempts, stuck.problem) == (1, "The receiver answered 400.")


def test_one_that_never_answers_costs_the_others_nothing(case: Case) -> None:
    with Receiver() as silent:
        silent.answer = lambda _got: None
        case.callback(url=silent.url)
        case.callback()
        for number in range(20):
            case.emit(f"{number:024}", number)
        duty = case.duty()
        until(lambda: duty.turn() == 0.0 and len(case.receiver.got) == 20)
        assert len(silent.got) <= 4
        duty.close()


def test_however_much_waits_for_one_that_fails_the_others_have_their_turn(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatch.upkeep.callbacks._UNDER_WAY", 6)
    monkeypatch.setattr("service.dispatch.upkeep.callbacks._OF_FAILING", 3)
    with Receiver() as silent:
        silent.answer = lambda _got: None
        for _ in range(5):
            case.callback(url=silent.url)
        for number in range(30):
            case.emit(f"{number:024}", number, at=case.now - HOUR)
        case.world.tell("UPDATE callbacks SET failing_since = 1")
        case.callback()
        for number in range(20):
            case.emit(f"{number:024}", number, at=case.now - 1)
        duty = case.duty()
        until(lambda: duty.turn() == 0.0 and len(case.receiver.got) == 20)
        assert len(silent.got) == 3
        duty.close()


@on_sqlite
def test_what_fails_for_a_day_is_given_up_and_pauses_its_callback(case: Case) -> None:
    callback_id, _ = case.callback()
    begin = case.now
    case.receiver.answer = lambda _got: 500
    case.emit("a" * 24, 1)
    while case.events("waiting"):
        case.go_on()
        case.now += 600_000
    assert begin + DAY - HOUR < case.now < begin + DAY + HOUR
    case.emit("a" * 24, 2)
    case.now = begin + DAY + HOUR
    case.go_on()
    with case.world.database.reading() as db:
        callback = callbacks.get(db, case.world.client_id, callback_id)
    assert callback.reason == (
        "It has failed for a day. The last problem: The receiver answered 500."
    )
    case.emit("a" * 24, 3)
    assert len(case.events()) == 2
    with case.world.database.writing() as db:
        callbacks.update(db, case.world.client_id, callback_id, {"paused": False})
        callbacks.resend(db, case.world.client_id, callback_id, case.events()[0].id, now=case.now)
    case.receiver.answer = lambda _got: 200
    case.receiver.got.clear()
    case.now += HOUR
    case.go_on()
    assert [each["data"]["number"] for each in case.told()] == [1, 2]


def test_a_receiver_that_is_gone_pauses_its_callback_at_once(case: Case) -> None:
    case.callback()
    case.receiver.answer = lambda _got: 410
    case.emit("a" * 24, 1)
    case.go_on()
    [row] = case.world.ask("SELECT paused_at, reason FROM callbacks")
    assert (row.paused_at, row.reason) == (case.now, "The receiver answered 410 Gone.")


def test_an_event_whose_poster_died_is_posted_by_another(case: Case) -> None:
    case.callback()
    case.emit("a" * 24, 1)
    with case.world.database.writing() as db:
        claimed = posting.claim(db, room=PostingSlots(9, 9), under_way={}, now=case.now)
    case.go_on()
    assert (len(claimed), case.receiver.got) == (1, [])
    case.now += posting.LEASE
    case.go_on()
    assert len(case.receiver.got) == 1
    with case.world.database.writing() as db:
        late = posting.Result(claimed[0], "Too late.")
        assert posting.settle(db, late, now=case.now) is None
    assert case.events()[0].status == "delivered"


@on_sqlite
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "localhost", "[64:ff9b::a00:1]"]
)
def test_a_private_address_is_refused_when_it_is_called(case: Case, host: str) -> None:
    """Also where the name of a public address at first leads to a private one later."""
    case.world = case.world.with_settings(private_addresses=False)
    case.duties = [case.duty()]
    port = case.receiver.url.rpartition(":")[2]
    case.callback(url=f"http://{host}:{port}/")
    case.emit("a" * 24, 1)
    case.go_on()
    [event] = case.events()
    assert (event.status, event.attempts, case.receiver.got) == ("waiting", 1, [])
    assert "is a private address" in (event.problem or "")


def test_a_redirect_is_not_followed_and_what_is_old_is_forgotten(case: Case) -> None:
    case.callback()
    case.receiver.answer = lambda _got: 302
    case.emit("a" * 24, 1)
    case.go_on()
    assert case.events()[0].problem == "The receiver answered 302."
    case.now += posting.KEPT_FOR + 1
    case.go_on()
    assert case.events() == []


def test_however_many_events_are_old_all_are_forgotten(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatch.upkeep.callbacks._FORGOTTEN", 1)
    case.callback()
    for number in range(5):
        case.emit("a" * 24, number, at=case.now - posting.KEPT_FOR - 1)
    for _ in range(3):
        case.go_on()
    assert case.events() == []


def test_very_many_events_that_wait_pause_their_callback(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "MOST_WAITING", 2)
    case.callback()
    case.callback(EventType.OPT_OUT_CHANGED)
    for number in range(3):
        case.emit("a" * 24, number)
    case.go_on()
    full, other = case.world.ask("SELECT reason FROM callbacks ORDER BY id")
    assert (full.reason, other.reason) == ("More than 2 events wait for it.", None)
    assert case.receiver.got == []


def test_a_client_without_callbacks_has_no_events(case: Case) -> None:
    broadcast_id = case.world.ready([ADA])
    record(case.world, broadcast_id, SENT)
    assert case.events() == []
    assert case.world.ask("SELECT * FROM callback_queues") == []


def test_a_disabled_client_is_told_nothing_before_it_is_enabled(
    case: Case,
) -> None:
    case.callback()
    case.emit("a" * 24, 1)
    with case.world.database.writing() as db:
        clients.disable(db, "Acme", now=case.now)
    case.go_on()
    assert case.told() == []
    with case.world.database.writing() as db:
        clients.enable(db, "Acme", now=case.now)
    case.go_on()
    assert len(case.told()) == 1
