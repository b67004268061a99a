"""Failures that come by receipt: what is sent again, what it costs, and what a repeat changes."""

from __future__ import annotations

from typing import Any

import pytest

from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UnknownCodeError,
)
from service.channels.webhooks import ReceiptState
from service.core import broadcasts
from service.core.deliveries import transitions
from service.core.deliveries.progress import VOID
from service.core.deliveries.transitions import Outcome
from service.core.receipts import Applied
from service.database import now_ms
from service.models import DeliveryStatus, SessionStatus
from tests.core.test_receipts import Sent, left
from tests.probe import Stage
from tests.world import ADA, GRACE, World

SENT, DELIVERED, READ, FAILED = ReceiptState
PASSING = RetryableError("Something went wrong.", code="131000")
RESTING = RetryableError("Too many to this number.", code="131056", wait=6.0)
LOCKED = BlockedError("Meta has locked the account.", code="131031")
FAST = BlockedError("Too fast.", code="130429", wait=60.0)
GONE = PermanentError("Not on WhatsApp.", code="131026")
MISSING = RequestError("No such template.", code="132001")
STRANGE = UnknownCodeError("Something new.", code="987654")


@pytest.fixture(autouse=True)
def _stage(stage: Stage) -> None:
    del stage


def fail(sent: Sent, error: SendError, part: int = 0, **more: Any) -> Applied:
    return sent.tell(sent.word(FAILED, part, error=error, **more))


def shown(sent: Sent) -> tuple[str, str | None, int]:
    only = sent.only
    return only.status, only.message_ids, only.attempts


def send_again(sent: Sent, message_ids: str) -> None:
    claimed = sent.world.claim(sent.broadcast_id)
    (delivery,) = claimed.deliveries
    now = now_ms()
    done = Outcome(delivery.id, DeliveryStatus.SENT, 1, now, now, message_ids)
    sent.record(claimed.id, done)


def make_due(sent: Sent) -> None:
    sent.world.tell("UPDATE deliveries SET due_at = 0 WHERE status = 'queued'")


@pytest.mark.parametrize(
    ("error", "status", "attempts"),
    [
        (PASSING, "queued", 1),
        (RESTING, "queued", 1),
        (LOCKED, "queued", 0),
        (FAST, "queued", 0),
        (GONE, "failed", 1),
        (MISSING, "failed", 1),
        (STRANGE, "failed", 1),
    ],
)
def test_a_failure_by_receipt_ends_as_one_in_an_answer(
    world: World, error: SendError, status: str, attempts: int
) -> None:
    sent = left(world)
    fail(sent, error)
    only = sent.only
    assert (only.status, only.attempts, only.code) == (status, attempts, error.code)
    assert only.reason == error.reason
    assert only.message_ids == (f"{VOID}id-0.0" if status == "queued" else "id-0.0")
    world.assert_counters_equal_rows([sent.broadcast_id])


def test_the_next_attempt_waits_as_long_as_the_provider_wants(world: World) -> None:
    for error, wait in ((RESTING, 6_000), (FAST, 60_000)):
        sent = left(world)
        before = now_ms()
        fail(sent, error)
        assert sent.only.due_at >= before + wait


def test_what_failed_with_the_account_holds_its_session(world: World) -> None:
    for error, status in ((LOCKED, SessionStatus.BLOCKED), (FAST, SessionStatus.THROTTLED)):
        sent = left(world)
        fail(sent, error)
        session = world.get_session(sent.session_id)
        assert (session.status, session.reason) == (status, error.reason)


def test_a_message_refused_for_all_pauses_its_broadcast(world: World) -> None:
    session_id = world.session("probe")
    broadcast_id = world.ready([ADA, GRACE], session_id=session_id)
    sent = Sent(world, session_id, broadcast_id)
    claimed = world.claim(broadcast_id, 1)
    now = now_ms()
    sent.record(
        claimed.id, Outcome(claimed.deliveries[0].id, DeliveryStatus.SENT, 1, now, now, "i")
    )
    sent.tell(sent.word(FAILED, error=MISSING, provider_id="i"))
    broadcast = world.get(broadcast_id)
    assert (broadcast.status, broadcast.reason) == ("paused", MISSING.reason)
    assert world.statuses(broadcast_id) == {"failed": 1, "queued": 1}


def test_only_the_part_that_failed_is_sent_again(world: World) -> None:
    sent = left(world, says="one two three")
    sent.tell(sent.word(DELIVERED, 0), sent.word(READ, 2))
    fail(sent, PASSING, 1)
    assert (sent.only.status, sent.only.progress) == ("queued", "d.r")
    assert sent.only.message_ids == f"id-0.0 {VOID}id-0.1 id-0.2"
    make_due(sent)
    send_again(sent, "id-0.0 new id-0.2")
    sent.tell(sent.word(READ, 1, provider_id="new"))
    assert (sent.only.status, sent.only.progress) == ("delivered", "drr")


def test_several_parts_that_failed_cost_one_attempt(world: World) -> None:
    for error, attempts in ((PASSING, 1), (LOCKED, 0)):
        sent = left(world, says="one two")
        sent.tell(*(sent.word(FAILED, part, error=error) for part in range(2)))
        assert shown(sent) == ("queued", f"{VOID}id-0.0 {VOID}id-0.1", attempts)


@pytest.mark.parametrize("error", [PASSING, LOCKED])
def test_a_repeat_changes_nothing_whenever_it_comes(world: World, error: SendError) -> None:
    sent = left(world)
    fail(sent, error)
    after = shown(sent)
    due_at = sent.only.due_at
    world.tell("UPDATE sessions SET held_until = 0, hold_reason = NULL")
    for _ in range(2):
        fail(sent, error)
        assert (shown(sent), sent.only.due_at) == (after, due_at)
        assert world.get_session(sent.session_id).status == SessionStatus.READY
    make_due(sent)
    send_again(sent, "new")
    fail(sent, error)
    assert sent.only.status == "sent"
    assert world.get_session(sent.session_id).status == SessionStatus.READY
    world.assert_counters_equal_rows([sent.broadcast_id])


def test_a_late_word_on_the_first_message_is_news_only_if_it_arrived(world: World) -> None:
    sent = left(world)
    fail(sent, PASSING)
    sent.tell(sent.word(SENT))
    assert sent.only.status == "queued"
    sent.tell(sent.word(DELIVERED))
    assert (sent.only.status, sent.only.message_ids) == ("delivered", "id-0.0")
    again = left(world)
    fail(again, PASSING)
    make_due(again)
    send_again(again, "new")
    again.tell(again.word(DELIVERED))
    fail(again, GONE, provider_id="new")
    assert again.only.status == "delivered"


def test_attempts_are_used_up_by_receipts_too(world: World) -> None:
    sent = left(world)
    for number in range(1, world.settings.max_attempts):
        fail(sent, PASSING, provider_id="id-0.0" if number == 1 else f"id-{number}")
        assert sent.only.attempts == number
        make_due(sent)
        send_again(sent, f"id-{number + 1}")
    fail(sent, PASSING, provider_id=f"id-{world.settings.max_attempts}")
    assert sent.only.status == "failed"
    assert f"after {world.settings.max_attempts} attempts" in (sent.only.reason or "")
    assert world.get(sent.broadcast_id).status == "completed"


def test_a_completed_broadcast_goes_on_until_nothing_is_open_again(world: World) -> None:
    sent = left(world)
    assert world.get(sent.broadcast_id).status == "completed"
    fail(sent, PASSING)
    broadcast = world.get(sent.broadcast_id)
    assert (broadcast.status, broadcast.closed_at, broadcast.sent) == ("sending", None, 0)
    make_due(sent)
    send_again(sent, "new")
    assert world.get(sent.broadcast_id).status == "completed"


@pytest.mark.parametrize("error", [PASSING, LOCKED])
@pytest.mark.parametrize("end", ["deleted", "expired"])
def test_what_is_over_is_not_reopened(world: World, error: SendError, end: str) -> None:
    sent = left(world)
    if end == "deleted":
        with world.database.writing() as db:
            broadcasts.delete(db, world.client_id, sent.broadcast_id, now=now_ms())
    else:
        world.tell("UPDATE broadcasts SET expires_at = 1")
    fail(sent, error)
    assert sent.only.status == "failed"
    assert (sent.only.reason or "").startswith(error.reason)
    assert world.get(sent.broadcast_id).closed_at is not None


def test_a_part_that_failed_for_good_is_not_saved_by_another(world: World) -> None:
    for order in ((GONE, PASSING), (PASSING, GONE)):
        sent = left(world, says="one two")
        for part, error in enumerate(order):
            fail(sent, error, part)
        assert (sent.only.status, sent.only.code) == ("failed", GONE.code)


def test_an_uncertain_part_that_failed_is_sent_again(world: World) -> None:
    uncertain = left(world, DeliveryStatus.UNCERTAIN, says="one two", message_ids="id-0.0")
    fail(uncertain, PASSING, 1)
    assert shown(uncertain) == ("queued", f"id-0.0 {VOID}id-0.1", 1)
    other = left(world, DeliveryStatus.UNCERTAIN, says="one two", message_ids="id-0.0")
    fail(other, PASSING, 0)
    assert other.only.status == "uncertain"  # the second part may have arrived


def test_what_was_never_handed_over_is_not_believed_to_have_arrived(world: World) -> None:
    session_id = world.session("probe")
    broadcast_id = world.ready([ADA], session_id=session_id)
    queued = Sent(world, session_id, broadcast_id)
    for state in (READ, FAILED):
        assert queued.tell(queued.word(state)) == Applied(untimely=1)
    assert shown(queued) == ("queued", None, 0)
    with world.database.writing() as db:
        expired = (DeliveryStatus.FAILED, "expired", "The broadcast has expired.")
        transitions.withdraw(db, broadcast_id, *expired, limit=1, now=now_ms())
    assert queued.tell(queued.word(READ)) == Applied(untimely=1)
    assert shown(queued) == ("failed", None, 0)
    assert queued.waiting() == 0


def test_a_failure_that_the_version_before_stored_is_still_final(world: World) -> None:
    sent = left(world)
    world.tell(
        "INSERT INTO waiting_receipts (id, session_id, delivery_id, part, message_id, state, code,"
        " opted_out, received_at, due_at)"
        " VALUES (:id, :session, :delivery, 0, 'id-0.0', 'failed', '131050', :stopped, 0, 0)",
        id="1" * 24,
        session=sent.session_id,
        delivery=sent.only.id,
        stopped=True,
    )
    sent.apply(now=now_ms())
    assert (sent.only.status, sent.only.code) == ("failed", "131050")
    assert len(world.ask("SELECT recipient FROM opt_outs")) == 1
