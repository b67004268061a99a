"""Deliveries that go on by other ways, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from service.channels.errors import RetryableError
from service.channels.webhooks import Inbound, Person, ReceiptState, TemplateNotice
from service.core import (
    broadcasts,
    holding,
    inbox_sessions,
    opt_outs,
    overdue,
    replies,
    retention,
    settled_replies,
    template_holds,
    variables,
)
from service.core import people as persons
from service.core.broadcast_requests import FallbackStep
from service.core.deliveries import transitions
from service.core.deliveries.opted_out import OptOutOwner
from service.core.deliveries.retries import LeftOut
from service.database import now_ms
from service.errors import ConflictError, InvalidError
from service.models import Delivery, DeliveryStatus, OptOutSource, StepCondition
from tests.chains import MINUTE, Chain, chain
from tests.conftest import on_postgres
from tests.probe import Stage
from tests.world import ADA, GRACE, JOAN, World

ADA_ID = "IN.1A2B3C4D5E6F"
SENT, UNCERTAIN = DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN
_, DELIVERED, READ, FAILED = ReceiptState


@pytest.fixture(autouse=True)
def _stage(stage: Stage) -> None:
    del stage


def ask(made: Chain, verb: str, *args: Any, **options: Any) -> Any:
    with made.world.database.writing() as db:
        options = {"now": now_ms(), **options}
        return getattr(broadcasts, verb)(db, made.world.client_id, made.id, *args, **options)


def opt_out(made: Chain, step: int | None, who: str = ADA) -> None:
    session_id = None if step is None else made.sessions[step]
    owner = OptOutOwner(made.world.client_id, session_id)
    with made.world.database.writing() as db:
        opt_outs.stop(db, owner, [who], OptOutSource.MANUAL, now=now_ms())


def test_who_is_not_reached_goes_on_by_the_next_way_once(world: World) -> None:
    made = chain(world, None, to=[{"to": ADA, "variables": {"name": "Ada"}}, GRACE])
    claimed = world.claim(made.id, 1)
    now = now_ms()
    failed = transitions.Outcome(
        claimed.deliveries[0].id, DeliveryStatus.FAILED, 1, now, now, code="131026", reason="No."
    )
    with world.database.writing() as db:
        transitions.record(db, claimed.id, [failed], now=now)
    assert world.statuses(made.id) == {"fallback": 1, "queued": 1}
    assert made.look().entered == [made.ways[1].id]
    assert made.look().entered == []
    (row,) = world.deliveries(made.ways[1].id)
    assert (row.recipient, row.status, row.attempts) == (ADA, "queued", 0)
    assert variables.load(row.variables) == {"name": "Ada"}
    made.assert_true()
    made.leave(SENT, 1)
    made.look()
    whole = world.deliveries(made.id)[0]
    assert (whole.status, whole.code, whole.message_ids) == ("sent", None, f"id-{row.id}")
    assert world.get(made.id).closed_at is None
    made.leave(SENT)
    assert world.get(made.id).status == "completed"
    made.assert_true()


def test_a_broadcast_whose_last_way_fails_has_failed(world: World) -> None:
    made = chain(world, None, None)
    made.fail()
    for step in (1, 2):
        made.look()
        assert world.get(made.id).status == "sending"
        made.fail(step, code=f"way-{step}")
    made.look()
    assert (made.only.status, made.only.code) == ("failed", "way-2")
    assert made.states() == [("failed", "131026"), ("failed", "way-1"), ("failed", "way-2")]
    broadcast = world.get(made.id)
    assert (broadcast.status, broadcast.failed, broadcast.total) == ("completed", 1, 1)
    made.assert_true()


def test_a_late_receipt_of_the_first_way_stops_what_has_not_gone_out(world: World) -> None:
    made = chain(world, None)
    made.fail(message_ids="x")
    made.look()
    made.hear(DELIVERED)
    made.look()
    assert made.only.status == "delivered"
    assert made.states() == [("delivered", None), ("cancelled", "reached_otherwise")]
    assert not world.claim(made.ways[1].id).deliveries
    assert world.get(made.id).status == "completed"
    made.assert_true()


def test_what_is_being_sent_is_stopped_when_it_comes_back(world: World) -> None:
    made = chain(world, None)
    made.fail(message_ids="x")
    made.look()
    claimed = world.claim(made.ways[1].id)
    made.hear(DELIVERED)
    made.look()
    assert made.only.status == "delivered"
    assert world.get(made.id).closed_at is None
    now = now_ms()
    again = transitions.Outcome(claimed.deliveries[0].id, DeliveryStatus.QUEUED, 1, now, now)
    with world.database.writing() as db:
        transitions.record(db, claimed.id, [again], now=now)
    made.look(now + 2_000)
    assert made.states()[1] == ("cancelled", "reached_otherwise")
    assert world.get(made.id).status == "completed"
    made.assert_true()


def test_who_is_not_heard_of_goes_on_after_some_minutes(world: World) -> None:
    made = chain(world, 120)
    now = now_ms()
    made.leave(SENT, now=now)
    assert (made.only.status, world.get(made.id).status) == ("sent", "sending")
    made.look(now + 119 * MINUTE)
    assert made.states() == []
    made.look(now + 120 * MINUTE)
    assert made.only.status == "fallback"
    assert made.states() == [("failed", "undelivered"), ("queued", None)]
    made.leave(SENT, 1, now=now + 121 * MINUTE)
    made.look(now + 121 * MINUTE)
    broadcast = world.get(made.id)
    assert (made.only.status, broadcast.status) == ("sent", "completed")
    made.hear(READ, now=now + 122 * MINUTE)
    made.look(now + 122 * MINUTE)
    assert (made.only.status, made.states()) == ("read", [("read", None), ("sent", None)])
    made.assert_true()


def test_a_receipt_in_time_ends_the_wait(world: World) -> None:
    made = chain(world, 120)
    made.leave(SENT)
    made.hear(DELIVERED)
    made.look()
    assert (made.only.status, world.get(made.id).status) == ("delivered", "completed")
    assert world.ask("SELECT * FROM due_ways") == []
    made.look(now_ms() + 200 * MINUTE)
    assert made.states() == []


def test_an_uncertain_delivery_waits_for_its_receipt_or_its_time(world: World) -> None:
    waits, fails = chain(world, 60), chain(world, None)
    now = now_ms()
    for made in (waits, fails):
        made.leave(UNCERTAIN, now=now)
    waits.look(now + 59 * MINUTE)
    assert (waits.only.status, waits.states()) == ("uncertain", [])
    waits.look(now + 60 * MINUTE)
    assert (waits.only.status, len(waits.states())) == ("fallback", 2)
    fails.look(now + 60 * MINUTE)
    assert (fails.only.status, fails.states()) == ("uncertain", [])
    fails.hear(FAILED)
    fails.look()
    assert (fails.only.status, len(fails.states())) == ("fallback", 2)
    for made in (waits, fails):
        made.assert_true()


def test_a_late_failure_leads_on_and_reopens_the_broadcast(world: World) -> None:
    made = chain(world, None)
    made.leave(SENT)
    assert world.get(made.id).status == "completed"
    made.hear(FAILED)
    assert (made.only.status, world.get(made.id).status) == ("fallback", "sending")
    made.look()
    assert made.states() == [("failed", "131026"), ("queued", None)]
    made.leave(SENT, 1)
    made.look()
    assert (made.only.status, world.get(made.id).status) == ("sent", "completed")
    made.hear(FAILED, 1)
    made.look()
    assert (made.only.status, made.only.code) == ("failed", "131026")
    made.assert_true()


def test_a_way_that_was_left_sends_nothing_again(world: World) -> None:
    made = chain(world, 1)
    now = now_ms()
    made.leave(SENT, now=now)
    made.look(now + MINUTE)
    made.hear(ReceiptState.SENT)
    made.hear(FAILED, error=RetryableError("Try later.", code="131000"))
    made.look()
    assert [status for status, _ in made.states()] == ["failed", "queued"]
    made.assert_true()


def test_a_passing_failure_of_the_last_way_is_tried_again_there(world: World) -> None:
    made = chain(world, None)
    made.fail()
    made.look()
    made.leave(SENT, 1)
    made.look()
    assert world.get(made.id).status == "completed"
    made.hear(FAILED, 1, error=RetryableError("Try later.", code="131000"))
    made.look()
    assert (made.only.status, world.get(made.id).status) == ("fallback", "sending")
    assert made.states()[1] == ("queued", "131000")
    assert world.get(made.ways[1].id).status == "sending"
    made.assert_true()


def test_who_wants_nothing_from_the_client_is_sent_nothing_by_any_way(world: World) -> None:
    made = chain(world, None)
    opt_out(made, None)
    made.look()
    assert (made.only.status, made.only.code, made.states()) == ("failed", "opted_out", [])
    assert world.get(made.id).status == "completed"


def test_who_wants_nothing_from_one_session_may_get_it_by_the_next(world: World) -> None:
    made = chain(world, None, None)
    opt_out(made, 0)
    opt_out(made, 1)
    made.look()
    codes = [("failed", "opted_out"), ("failed", "opted_out"), ("queued", None)]
    assert (made.only.status, made.states()) == ("fallback", codes)
    opt_out(made, None)
    made.look()
    assert (made.only.status, made.only.code) == ("failed", "opted_out")
    assert world.get(made.id).status == "completed"
    made.assert_true()


def test_a_way_whose_channel_does_not_take_the_recipient_is_skipped(world: World) -> None:
    made = chain(world, sms_of(world), None, to=[ADA_ID])
    made.fail()
    made.look()
    codes = [("failed", "131026"), ("failed", "unreachable_by_channel"), ("queued", None)]
    assert made.states() == codes
    made.assert_true()


def sms_of(world: World) -> FallbackStep:
    settings = {"account_sid": "AC" + "a" * 32, "auth_token": "x", "sender": "+12025550110"}
    return FallbackStep(world.session("twilio", settings=settings), StepCondition.FAILED)


def learn(world: World, *people: Person) -> None:
    with world.database.writing() as db:
        persons.learn(db, world.client_id, people, now=now_ms())


def test_who_was_named_by_a_user_id_gets_an_sms_once_the_number_is_known(world: World) -> None:
    made = chain(world, sms_of(world), None, to=[ADA_ID, "IN.9"])
    learn(world, Person(ADA, ADA_ID))
    made.fail()
    made.look()
    by_sms = {each.recipient: each.status for each in world.deliveries(made.ways[1].id)}
    assert by_sms == {ADA: "queued", "IN.9": "failed"}
    made.assert_true()
    made.fail(1)
    made.look()
    assert {each.recipient for each in world.deliveries(made.ways[2].id)} == {ADA_ID, "IN.9"}


def test_who_is_named_by_number_and_by_user_ids_gets_one_sms(world: World) -> None:
    others = [f"IN.{number}" for number in (2, 3)]
    made = chain(world, sms_of(world), to=[ADA_ID, ADA, *others])
    learn(world, Person(ADA, ADA_ID), *(Person(GRACE, other) for other in others))
    made.fail()
    made.look()
    by_sms = {each.recipient: each.status for each in world.deliveries(made.ways[1].id)}
    queued = sorted(recipient for recipient, status in by_sms.items() if status == "queued")
    assert queued == sorted([ADA, GRACE])
    assert len(by_sms) == 4
    made.assert_true()


def test_an_opt_out_by_number_holds_for_an_sms_in_place_of_a_user_id(world: World) -> None:
    step = sms_of(world)
    made = chain(world, step, to=[ADA_ID])
    learn(world, Person(ADA, ADA_ID))
    with world.database.writing() as db:
        owner = OptOutOwner(world.client_id, step.session_id)
        opt_outs.stop(db, owner, [ADA], OptOutSource.MANUAL, now=now_ms())
    made.fail()
    made.look()
    assert made.states()[-1] == ("failed", "opted_out")


def test_nothing_goes_on_while_the_broadcast_is_paused(world: World) -> None:
    made = chain(world, None)
    made.fail()
    ask(made, "pause")
    made.look()
    assert (made.only.status, made.states()) == ("fallback", [])
    ask(made, "resume")
    made.look()
    assert len(made.states()) == 2
    ask(made, "pause")
    assert not world.claim(made.ways[1].id).deliveries
    ask(made, "resume")
    made.leave(SENT, 1)
    made.look()
    assert world.get(made.id).status == "completed"
    made.assert_true()


def test_a_deleted_broadcast_ends_in_all_its_ways(world: World) -> None:
    made, waiting = chain(world, None), chain(world, 60)
    made.fail()
    made.look()
    waiting.leave(SENT)
    for each in (made, waiting):
        ask(each, "delete")
        with world.database.reading() as db:
            ending = overdue.ending(db, now=now_ms())
        for broadcast_id, _ in ending:
            with world.database.writing() as db:
                cancelled = (DeliveryStatus.CANCELLED, "cancelled", "Deleted.")
                transitions.withdraw(db, broadcast_id, *cancelled, limit=10, now=now_ms())
        each.look()
        assert world.get(each.id).closed_at is not None
        each.assert_true()
    assert (made.only.status, waiting.only.status) == ("cancelled", "sent")


def test_nothing_goes_on_after_the_broadcast_has_expired(world: World) -> None:
    now = now_ms()
    made = chain(world, 60, expires_at=now + 30 * MINUTE)
    made.leave(SENT, now=now)
    made.look(now + 30 * MINUTE)
    assert (made.only.status, made.states()) == ("sent", [])
    assert world.get(made.id).status == "completed"
    late = chain(world, None, expires_at=now + 30 * MINUTE)
    late.leave(SENT, now=now)
    late.hear(FAILED, now=now + 31 * MINUTE)
    late.look(now + 31 * MINUTE)
    assert (late.only.status, late.states()) == ("failed", [])


def test_a_way_that_is_refused_for_all_pauses_the_whole_broadcast(world: World) -> None:
    made = chain(world, None)
    made.fail()
    made.look()
    way = made.ways[1]
    with world.database.writing() as db:
        holding.hold_broadcast(db, way.id, "No such sender.", now=now_ms())
    broadcast = world.get(made.id)
    assert broadcast.status == world.get(way.id).status == "paused"
    assert broadcast.reason == "Step 1 of the fallback: No such sender."


@on_postgres
def test_no_process_waits_for_a_delivery_that_another_one_holds(world: World) -> None:
    made = chain(world, None)
    made.fail()
    with world.database.writing() as db:
        db.execute(select(Delivery.id).where(Delivery.broadcast_id == made.id).with_for_update())
        assert made.look().entered == []
    assert made.look().entered == [made.ways[1].id]


def test_a_broadcast_without_a_fallback_has_no_ways(world: World) -> None:
    made = chain(world)
    made.fail()
    made.look()
    assert (made.only.status, list(made.ways)) == ("failed", [])
    assert world.get(made.id).status == "completed"
    assert world.ask("SELECT * FROM due_ways") == []


def test_a_retry_goes_on_in_the_way_in_which_a_delivery_has_ended(world: World) -> None:
    made = chain(world, None)
    made.fail()
    made.look()
    made.fail(1, code="30003")
    made.look()
    assert world.get(made.id).status == "completed"
    ask(made, "retry", [DeliveryStatus.FAILED], accounts=world.accounts)
    assert (made.only.status, world.get(made.id).status) == ("fallback", "sending")
    assert made.states() == [("failed", "131026"), ("queued", "30003")]
    assert not world.claim(made.id).deliveries
    made.assert_true()
    made.leave(SENT, 1)
    made.look()
    assert (made.only.status, world.get(made.id).status) == ("sent", "completed")
    made.assert_true()


def test_a_retry_by_another_session_is_one_more_way(world: World) -> None:
    made = chain(world, to=[ADA, GRACE, JOAN])
    claimed = world.claim(made.id)
    now = now_ms()
    left = [
        transitions.Outcome(each.id, status, 1, now, now, code=code)
        for each, status, code in zip(
            claimed.deliveries,
            (DeliveryStatus.FAILED, UNCERTAIN, DeliveryStatus.FAILED),
            ("131026", None, "other"),
            strict=True,
        )
    ]
    with world.database.writing() as db:
        transitions.record(db, claimed.id, left, now=now)
    other = world.session("probe")
    made.sessions.append(other)
    both = [DeliveryStatus.FAILED, UNCERTAIN]
    again: dict[str, Any] = {"session_id": other, "accounts": world.accounts}
    ask(made, "retry", both, codes=["131026", ""], **again)
    assert world.statuses(made.id) == {"fallback": 2, "failed": 1}
    first, way = made.ways
    assert world.statuses(first.id) == {"failed": 2}
    assert world.statuses(way.id) == {"queued": 2}
    made.assert_true()
    made.leave(SENT, 1)
    made.look()
    assert world.statuses(made.id) == {"sent": 2, "failed": 1}
    assert world.get(made.id).status == "completed"
    ask(made, "retry", both, **again)
    assert (len(made.ways), world.statuses(way.id)) == (2, {"sent": 2, "queued": 1})
    made.fail(1)
    made.look()
    assert world.statuses(made.id) == {"sent": 2, "failed": 1}
    ask(made, "retry", both, **again)
    assert world.statuses(way.id) == {"sent": 2, "queued": 1}
    made.leave(SENT, 1)
    made.look()
    assert world.statuses(made.id) == {"sent": 3}
    made.assert_true()


def test_a_late_receipt_of_what_a_retry_has_left_counts(world: World) -> None:
    made = chain(world)
    made.leave(UNCERTAIN)
    made.sessions.append(world.session("probe"))
    again = {"session_id": made.sessions[1], "accounts": world.accounts}
    ask(made, "retry", [UNCERTAIN], **again)
    assert made.states() == [("failed", None), ("queued", None)]
    made.hear(DELIVERED)
    made.look()
    assert made.states() == [("delivered", None), ("cancelled", "reached_otherwise")]
    assert (made.only.status, world.get(made.id).status) == ("delivered", "completed")
    made.assert_true()


def test_a_retry_by_another_session_leaves_out_whom_it_cannot_send_to(world: World) -> None:
    made = chain(world, to=[ADA, GRACE, "IN.1A2B3C4D5E6F"])
    made.fail()
    sms = world.session(
        "twilio",
        settings={"account_sid": "AC" + "a" * 32, "auth_token": "x", "sender": "+12025550110"},
    )
    made.sessions.append(sms)
    opt_out(made, 1)
    again: dict[str, Any] = {"session_id": sms, "accounts": world.accounts}
    retried = ask(made, "retry", [DeliveryStatus.FAILED], codes=["131026"], **again)
    assert retried.left_out == LeftOut(opted_out=1, unreachable_by_channel=1)
    assert [row.recipient for row in world.deliveries(made.ways[1].id)] == [GRACE]
    assert world.statuses(made.id) == {"failed": 2, "fallback": 1}
    made.assert_true()
    with pytest.raises(ConflictError, match=r"\b1 have an address that the channel"):
        ask(made, "retry", [DeliveryStatus.FAILED], **again)


def test_a_retry_sends_nothing_to_an_address_that_the_last_way_does_not_take(world: World) -> None:
    made = chain(world, sms_of(world), to=[ADA_ID, GRACE])
    made.fail()
    made.look()
    made.fail(1, code="30003")
    made.look()
    retried = ask(made, "retry", [DeliveryStatus.FAILED], accounts=world.accounts)
    assert retried.left_out == LeftOut(opted_out=0, unreachable_by_channel=1)
    by_sms = {each.recipient: each.status for each in world.deliveries(made.ways[1].id)}
    assert by_sms == {ADA_ID: "failed", GRACE: "queued"}
    made.assert_true()


def test_a_retry_by_a_session_that_cannot_carry_the_message_is_refused(world: World) -> None:
    made = chain(world)
    made.fail()
    world.tell(
        "UPDATE broadcasts SET content = :content WHERE id = :id",
        id=made.id,
        content='{"text": "", "media": [], "location": null, "contact": null, "template":'
        ' {"name": "hello", "language": "en", "components": []}}',
    )
    sms = world.session(
        "twilio",
        settings={"account_sid": "AC" + "a" * 32, "auth_token": "x", "sender": "+12025550110"},
    )
    with pytest.raises(InvalidError) as caught:
        ask(made, "retry", [DeliveryStatus.FAILED], session_id=sms, accounts=world.accounts)
    assert "message.template" in caught.value.errors
    assert list(made.ways) == []


def test_a_broadcast_goes_on_when_the_template_of_its_way_can_be_used_again(world: World) -> None:
    made = chain(world, None, None)
    made.fail()
    made.look()
    way = made.ways[1]
    content = '{"template": {"name": "hello", "language": "en"}, "media": []}'
    changed = "UPDATE broadcasts SET content = :content WHERE id = :id"
    world.tell(changed, id=way.id, content=content)
    with world.database.writing() as db:
        template_holds.hold(db, way.id, "Paused.", now=now_ms())
    assert (world.get(made.id).status, world.get(made.id).waits_for) == ("paused", "way")
    for session_id in made.sessions[::2]:
        with world.database.writing() as db:
            template_holds.release(db, session_id, now=now_ms())
    assert world.get(made.id).status == "paused"
    notice = TemplateNotice("hello", "en", status="APPROVED")
    with world.database.writing() as db:
        template_holds.heed(db, made.sessions[1], notice, now=now_ms())
    assert world.get(made.id).status == world.get(way.id).status == "sending"
    made.leave(SENT, 1)
    made.look()
    assert world.get(made.id).status == "completed"
    made.assert_true()


def test_a_purge_deletes_all_ways_and_what_is_due_of_a_purged_one_is_dropped(world: World) -> None:
    made = chain(world, None)
    made.fail(message_ids="x")
    made.look()
    made.leave(SENT, 1)
    made.look()
    made.hear(DELIVERED, 1)
    later = now_ms() + MINUTE
    with world.database.writing() as db:
        assert retention.hide(db, before=later, after="", limit=10, now=later) == [made.id]
    with world.database.writing() as db:
        assert retention.forget(db, [made.id], before=later, limit=10) == (3, 3)
    for table in ("broadcasts", "deliveries", "delivery_events"):
        assert world.ask(f"SELECT * FROM {table}") == []  # noqa: S608 - the names are ours
    made.look(later)
    assert world.ask("SELECT * FROM due_ways") == []


def test_a_reply_to_a_way_answers_the_delivery_that_the_client_knows(world: World) -> None:
    made = chain(world, None)
    made.fail()
    made.look()
    made.leave(SENT, 1)
    made.look()
    with world.database.writing() as db:
        session = inbox_sessions.get(db, made.sessions[1])
        replies.receive(db, session, [Inbound("in-1", ADA, "text", "Thanks")], now=now_ms())
    with world.database.writing() as db:
        (settled,) = settled_replies.settle(db, 10, now=now_ms() + MINUTE)
    assert settled.broadcast_id == made.id
    reply = world.ask("SELECT broadcast_id, delivery_id FROM replies")[0]
    assert tuple(reply) == (made.id, made.only.id)
    assert world.get(made.id).replies == 1
