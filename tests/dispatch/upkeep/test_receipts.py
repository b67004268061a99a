"""Applies the receipts that webhooks have stored."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy.orm import Session as Db

from service.channels.errors import BlockedError, RetryableError, SendError, UnknownCodeError
from service.channels.webhooks import Notice, Receipt, ReceiptState
from service.core import receipts, waiting
from service.core.decisions import Hold
from service.core.deliveries import transitions
from service.core.deliveries.transitions import Outcome
from service.database import CACHE, now_ms
from service.dispatch.upkeep.receipts import Receipts
from service.errors import TooManyReportsError
from service.models import DeliveryStatus, SessionStatus
from tests.probe import Stage
from tests.world import ADA, GRACE, World, numbers


class Turns:
    """The turns, and how often they found something for others to go on with."""

    def __init__(self, world: World) -> None:
        self.woken = 0
        self.held: list[Hold] = []
        self._turn = Receipts(world.settings, world.database, self._wake, self.held.append).turn

    def take(self) -> float:
        return self._turn()

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def turns(world: World, stage: Stage) -> Turns:
    del stage
    return Turns(world)


def left(
    world: World, status: DeliveryStatus, to: Sequence[str], says: str = "Hello"
) -> tuple[str, str]:
    """Return a session and its broadcast, whose deliveries a sender left at a status."""
    session_id = world.session("probe")
    broadcast_id = world.ready(to, says, session_id=session_id)
    claims = world.claim(broadcast_id)
    now = now_ms()
    outcomes = [Outcome(each.id, status, 1, now, now) for each in claims.deliveries]
    with world.database.writing() as db:
        transitions.record(db, claims.id, outcomes, now=now)
    return session_id, broadcast_id


def tell(
    world: World, session_id: str, *receipts_: Receipt | Notice, now: int | None = None
) -> None:
    with world.database.writing() as db:
        receipts.store(db, session_id, receipts_, now=now_ms() if now is None else now)


def word(delivery_id: str, state: ReceiptState, part: int = 0) -> Receipt:
    return Receipt(f"id.{part}", state, f"{delivery_id}.{part}")


def test_nothing_to_do_costs_one_look(world: World, turns: Turns) -> None:
    assert turns.take() == world.settings.poll_interval
    assert turns.woken == 0


def test_what_has_arrived_is_applied_and_wakes_the_claimer(world: World, turns: Turns) -> None:
    session_id, broadcast_id = left(world, DeliveryStatus.UNCERTAIN, [ADA, GRACE], "one two")
    ada, grace = world.deliveries(broadcast_id)
    said = [word(ada.id, ReceiptState.SENT), word(grace.id, ReceiptState.READ)]
    tell(world, session_id, *said)
    assert turns.take() == world.settings.poll_interval
    assert turns.woken == 1
    assert world.statuses(broadcast_id) == {"queued": 2}


def test_many_are_applied_in_turns_without_a_pause(world: World, turns: Turns) -> None:
    session_id, broadcast_id = left(world, DeliveryStatus.SENT, numbers(700))
    read = [word(each.id, ReceiptState.READ) for each in world.deliveries(broadcast_id)]
    tell(world, session_id, *read)
    assert turns.take() == 0.0
    assert turns.take() == world.settings.poll_interval
    assert world.statuses(broadcast_id) == {"read": 700}
    world.assert_counters_equal_rows([broadcast_id])


def test_many_that_have_to_wait_do_not_keep_others_waiting(world: World, turns: Turns) -> None:
    session_id, broadcast_id = left(world, DeliveryStatus.SENT, [ADA])
    unknown = [Receipt(f"wamid.{number}", ReceiptState.READ) for number in range(600)]
    tell(world, session_id, *unknown, now=now_ms() - 1_000)
    tell(world, session_id, word(world.deliveries(broadcast_id)[0].id, ReceiptState.READ))
    assert 0.0 < turns.take() < world.settings.poll_interval, "others may write meanwhile"
    assert turns.take() == world.settings.poll_interval
    assert world.statuses(broadcast_id) == {"read": 1}
    assert turns.woken == 0, "nothing is to be sent"


def test_unknown_ones_are_counted_in_the_log(
    world: World, turns: Turns, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = world.session("probe")
    old = Receipt("wamid.secret", ReceiptState.READ)
    tell(world, session_id, old, old, now=now_ms() - 601_000)
    turns.take()
    (record,) = [each for each in caplog.records if "receipts" in str(each.msg)]
    assert "'count': 2" in str(record.msg)
    assert "wamid" not in str(record.msg)
    assert turns.woken == 0


def test_a_hold_is_told_at_once_and_written(world: World, turns: Turns) -> None:
    session_id, broadcast_id = left(world, DeliveryStatus.SENT, [ADA])
    tell(world, session_id, failed(world, broadcast_id, 0, BlockedError("Locked.", code="131031")))
    turns.take()
    assert turns.held == [Hold("Locked.", session_id=session_id)]
    assert world.get_session(session_id).status == SessionStatus.BLOCKED


def test_three_people_with_an_unknown_code_pause_the_broadcast(world: World, turns: Turns) -> None:
    people = numbers(6)
    session_id = world.session("probe")
    broadcast_id = world.ready(people, session_id=session_id)
    hand_over(world, broadcast_id, 5)
    for place in range(3):
        assert world.get(broadcast_id).status == "sending"
        strange = UnknownCodeError("Something new.", code="987654")
        tell(world, session_id, failed(world, broadcast_id, place, strange))
        turns.take()
    assert world.get(broadcast_id).status == "paused"
    assert [hold.broadcast_id for hold in turns.held] == [broadcast_id]


def test_who_got_the_message_between_ends_the_row(world: World, turns: Turns) -> None:
    session_id = world.session("probe")
    broadcast_id = world.ready(numbers(6), session_id=session_id)
    hand_over(world, broadcast_id, 5)
    deliveries = world.deliveries(broadcast_id)
    strange = UnknownCodeError("Something new.", code="987654")
    for place in range(4):
        tell(world, session_id, failed(world, broadcast_id, place, strange))
        turns.take()
        if place == 1:
            tell(world, session_id, word(deliveries[4].id, ReceiptState.DELIVERED))
            turns.take()
    assert world.get(broadcast_id).status == "sending"


def test_a_notice_holds_and_releases_a_session(world: World, turns: Turns) -> None:
    session_id = world.session("probe")
    tell(world, session_id, Notice(BlockedError("Stopped.", code="stopped")))
    turns.take()
    assert world.get_session(session_id).reason == "Stopped."
    assert turns.woken == 1
    tell(world, session_id, Notice(None))
    turns.take()
    assert world.get_session(session_id).status == SessionStatus.READY
    assert turns.held == [Hold("Stopped.", session_id=session_id)]


def test_a_session_that_works_again_but_is_restricted_gets_an_end(
    world: World, turns: Turns
) -> None:
    session_id = world.session("probe")
    tell(world, session_id, Notice(BlockedError("Stopped.", code="stopped")))
    turns.take()
    restricted = BlockedError("Restricted.", code="restricted", wait=600.0)
    tell(world, session_id, Notice(None), Notice(restricted))
    turns.take()
    session = world.get_session(session_id)
    assert (session.status, session.reason) == (SessionStatus.THROTTLED, "Restricted.")


def test_a_notice_does_not_shorten_a_hold_that_has_an_end(world: World, turns: Turns) -> None:
    session_id = world.session("probe")
    restricted = BlockedError("Restricted.", code="restricted", wait=600.0)
    tell(world, session_id, Notice(restricted))
    turns.take()
    until = world.get_session(session_id).throttled_until
    assert until is not None
    for error in (None, RetryableError("A passing fault."), BlockedError("Starting.", wait=10.0)):
        tell(world, session_id, Notice(error))
        turns.take()
        assert world.get_session(session_id).throttled_until == until


def test_a_session_that_is_flooded_takes_no_other_ones_turns(world: World, turns: Turns) -> None:
    flooded = world.session("probe")
    unknown = [Receipt(f"wamid.{number}", ReceiptState.READ) for number in range(5_000)]
    tell(world, flooded, *unknown, now=now_ms() - 1_000)
    session_id, broadcast_id = left(world, DeliveryStatus.SENT, numbers(200))
    tell(
        world,
        session_id,
        *(word(each.id, ReceiptState.READ) for each in world.deliveries(broadcast_id)),
    )
    assert 0.0 < turns.take() < world.settings.poll_interval, "others may write meanwhile"
    assert world.statuses(broadcast_id) == {"read": 200}


def test_a_client_that_is_flooded_takes_no_other_clients_turns(world: World, turns: Turns) -> None:
    """However many sessions it has; another client's receipts are half of the first batch."""
    unknown = [Receipt(f"wamid.{number}", ReceiptState.READ) for number in range(500)]
    for _ in range(20):
        tell(world, world.session("probe"), *unknown, now=now_ms() - 1_000)
    session_id, broadcast_id = left(world.neighbour(), DeliveryStatus.SENT, numbers(250))
    said = [word(each.id, ReceiptState.READ) for each in world.deliveries(broadcast_id)]
    tell(world, session_id, *said)
    assert turns.take() < world.settings.poll_interval
    assert world.statuses(broadcast_id) == {"read": 250}


def test_however_many_sessions_there_are_each_ones_receipts_are_applied(
    world: World, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatch.upkeep.receipts._BATCH", 2)
    made = [left(world, DeliveryStatus.SENT, [ADA]) for _ in range(7)]
    for session_id, broadcast_id in made:
        tell(world, session_id, word(world.deliveries(broadcast_id)[0].id, ReceiptState.READ))
    while turns.take() == 0.0:
        pass
    assert [world.statuses(broadcast_id) for _, broadcast_id in made] == [{"read": 1}] * 7


def test_no_session_waits_for_others_that_always_have_more(
    world: World, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is smaller than the number of sessions does not begin with the same ones."""
    monkeypatch.setattr("service.dispatch.upkeep.receipts._BATCH", 1)
    monkeypatch.setattr("service.dispatch.upkeep.receipts._MOST_DOUBLINGS", 0)
    made = [left(world, DeliveryStatus.SENT, [ADA]) for _ in range(3)]
    with world.database.writing() as db:
        for session_id, broadcast_id in made:
            reached = word(world.deliveries(broadcast_id)[0].id, ReceiptState.READ)
            for _ in range(90):
                receipts.store(db, session_id, [reached], now=now_ms())
    # In 80 turns none has used up what waits for it: each turn takes one of them.
    for _ in range(80):
        turns.take()
    assert [world.statuses(broadcast_id) for _, broadcast_id in made] == [{"read": 1}] * 3


@pytest.mark.parametrize(
    ("bound", "most", "texts"), [("MOST_WAITING", 10, ()), ("MOST_BYTES", 10_000, ("x" * 990,))]
)
def test_a_session_has_a_bound_on_what_waits(  # noqa: PLR0913, PLR0917 - fixtures and the case
    world: World,
    turns: Turns,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    most: int,
    texts: tuple[str, ...],
) -> None:
    del turns
    monkeypatch.setattr(receipts, bound, most)
    full, other = world.session("probe"), world.session("probe")
    words = [Receipt(f"wamid.{number}", ReceiptState.READ, "", texts) for number in range(9)]
    tell(world, full, *words)
    with pytest.raises(TooManyReportsError):
        tell(world, full, *words)
    tell(world, full, Receipt("wamid.short", ReceiptState.READ))
    tell(world, other, *words)
    with world.database.reading() as db:
        waits = waiting.amount(db, full)
    stored = world.ask("SELECT words FROM waiting_receipts WHERE session_id = :id", id=full)
    assert waits == (10, sum(len(row.words) for row in stored))


def test_whoever_asks_for_too_much_again_is_refused_without_a_count(
    world: World, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    del turns
    monkeypatch.setattr(receipts, "MOST_WAITING", 10)
    session_id, now = world.session("probe"), now_ms()
    words = [Receipt(f"wamid.{number}", ReceiptState.READ) for number in range(9)]
    tell(world, session_id, *words, now=now)
    for _ in range(2):
        with pytest.raises(TooManyReportsError):
            tell(world, session_id, *words, now=now)
        monkeypatch.delattr(waiting, "amount", raising=False)


def test_a_process_does_not_remember_the_room_of_ever_more_sessions(
    world: World, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    del turns
    monkeypatch.setattr(receipts, "_ROOMS_KNOWN", 3)
    for _ in range(10):
        tell(world, world.session("probe"), Receipt("wamid.1", ReceiptState.READ))
    with world.database.writing() as db:
        assert len(db.info[CACHE]["receipts"]) <= 3


def test_what_waits_is_not_counted_for_each_webhook(
    world: World, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process goes by its count for a second, or until it has used up a tenth of the room."""
    del turns
    counts, usual = list[str](), waiting.amount

    def count(db: Db, session_id: str) -> waiting.Amount:
        counts.append(session_id)
        return usual(db, session_id)

    monkeypatch.setattr(waiting, "amount", count)
    monkeypatch.setattr(receipts, "MOST_WAITING", 100)
    session_id, now = world.session("probe"), now_ms()
    words = [Receipt(f"wamid.{number}", ReceiptState.READ) for number in range(10)]
    tell(world, session_id, *words[:5], now=now)
    tell(world, session_id, *words[:5], now=now)
    assert len(counts) == 1
    tell(world, session_id, words[0], now=now)
    assert len(counts) == 2, "a tenth is used up"
    tell(world, session_id, words[0], now=now + 999)
    assert len(counts) == 2
    tell(world, session_id, words[0], now=now + 1_000)
    assert len(counts) == 3, "others have stored some meanwhile"


def hand_over(world: World, broadcast_id: str, count: int) -> None:
    """Let some deliveries of a broadcast be sent."""
    claims = world.claim(broadcast_id, count)
    now = now_ms()
    outcomes = [
        Outcome(each.id, DeliveryStatus.SENT, 1, now, now, f"id-{each.id}")
        for each in claims.deliveries
    ]
    with world.database.writing() as db:
        transitions.record(db, claims.id, outcomes, now=now)


def failed(world: World, broadcast_id: str, place: int, error: SendError) -> Receipt:
    delivery = world.deliveries(broadcast_id)[place]
    known_as = delivery.message_ids or "id"
    return Receipt(known_as, ReceiptState.FAILED, f"{delivery.id}.0", error=error)
