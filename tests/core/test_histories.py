"""What happened to a delivery, also what its row has forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from service.channels.errors import PermanentError, RetryableError
from service.channels.webhooks import ReceiptState
from service.core import broadcasts, delivery_log, histories, ways
from service.core.deliveries import claims, events
from service.core.deliveries.transitions import Outcome
from service.core.delivery_log import DeliveryScope
from service.core.paging import PageRequest
from service.database import now_ms
from service.models import DeliveryStatus, EventKind
from tests.core.test_receipts import Sent, left
from tests.probe import Stage
from tests.statements import noted
from tests.world import ADA, GRACE, World

_, DELIVERED, READ, FAILED = ReceiptState


@pytest.fixture(autouse=True)
def _stage(stage: Stage) -> None:
    del stage


def told(sent: Sent) -> list[str]:
    """Return the words for programs of the history of the only delivery."""
    return [each.what for each in history(sent)]


def history(sent: Sent) -> list[histories.HistoryEntry]:
    with sent.world.database.reading() as db:
        entry = delivery_log.get(db, DeliveryScope(sent.world.client_id), sent.only.id)
        return histories.read(db, entry, ways.taken(db, entry.broadcast, entry.delivery))


def again(sent: Sent, status: DeliveryStatus, **changes: Any) -> None:
    """Claim the only delivery and record what became of it."""
    sent.world.tell("UPDATE deliveries SET due_at = 0 WHERE status = 'queued'")
    claimed = sent.world.claim(sent.broadcast_id)
    (delivery,) = claimed.deliveries
    now = now_ms()
    done = Outcome(delivery.id, status, 1, now, now + 5_000)
    sent.record(claimed.id, done._replace(claimed_at=delivery.claimed_at, **changes))


def retry(sent: Sent, *codes: str) -> None:
    with sent.world.database.writing() as db:
        broadcasts.retry(
            db,
            sent.world.client_id,
            sent.broadcast_id,
            [DeliveryStatus.FAILED],
            codes=codes,
            accounts=sent.world.accounts,
            now=now_ms(),
        )


def test_what_goes_well_is_told_from_the_row_alone(world: World) -> None:
    sent = left(world)
    sent.tell(sent.word(DELIVERED))
    sent.tell(sent.word(READ))
    assert told(sent) == ["accepted", "sent", "delivered", "read"]
    assert world.ask("SELECT * FROM delivery_events") == []


def test_attempts_ends_and_retries_are_told_in_order_with_their_answers(world: World) -> None:
    sent = left(world, DeliveryStatus.QUEUED, code="131000", reason="Try later.", message_ids=None)
    again(sent, DeliveryStatus.QUEUED, tried=0, code="131031", reason="Locked.")
    again(sent, DeliveryStatus.FAILED, code="131026", reason="Not on WhatsApp.")
    assert told(sent) == ["accepted", "retrying", "held", "failed"]
    retry(sent, "131026")
    assert told(sent) == ["accepted", "retrying", "held", "ended", "retried"]
    again(sent, DeliveryStatus.SENT, message_ids="id-0.0")
    sent.tell(sent.word(FAILED, error=PermanentError("Lost.", code="131047")))
    sent.tell(sent.word(DELIVERED))
    lines = history(sent)
    assert [each.what for each in lines] == [
        *("accepted", "retrying", "held", "ended", "retried", "sent", "failed", "delivered"),
    ]
    assert [each.code for each in lines if each.code] == ["131000", "131031", "131026", "131047"]
    assert lines[1].text == "An attempt failed; another one follows. Try later."
    assert lines[2].next_attempt_at == lines[2].at + 5_000


def test_what_happened_in_the_same_millisecond_is_told_in_the_order_of_a_delivery(
    world: World,
) -> None:
    sent = left(world)
    sent.tell(sent.word(FAILED, error=PermanentError("Lost.", code="131047")))
    sent.tell(sent.word(DELIVERED))
    world.tell("""UPDATE deliveries SET
        sent_at = (SELECT at FROM delivery_events WHERE kind = 'failed'),
        delivered_at = (SELECT at FROM delivery_events WHERE kind = 'failed')""")
    assert told(sent) == ["accepted", "sent", "failed", "delivered"]


def test_parts_late_failures_and_rescues_are_told_too(world: World) -> None:
    sent = left(world, says="two parts")
    sent.tell(sent.word(DELIVERED, 0), sent.word(FAILED, 1, error=RetryableError("Oops.")))
    lines = history(sent)
    assert [each.what for each in lines[2:]] == ["delivered", "reopened"]
    assert (lines[2].part, lines[2].text) == (0, "A part of the message was delivered.")
    world.tell("UPDATE deliveries SET due_at = 0")
    claimed = world.claim(sent.broadcast_id)
    with world.database.writing() as db:
        claims.rescue(db, claimed.id, sent.broadcast_id, resend=True, now=now_ms())
    assert told(sent)[-1] == "rescued"


def test_an_uncertain_delivery_that_a_receipt_settles_keeps_why_it_was(world: World) -> None:
    sent = left(world, DeliveryStatus.UNCERTAIN, code="no_answer", reason="No answer.")
    assert told(sent)[-1] == "uncertain"
    sent.tell(sent.word(DELIVERED))
    assert told(sent)[1:] == ["uncertain", "sent", "delivered"]


def test_what_a_claim_has_lost_leaves_no_event_and_a_repeat_leaves_one(world: World) -> None:
    sent = left(world, DeliveryStatus.QUEUED, code="x", reason="Try later.", message_ids=None)
    world.tell("UPDATE deliveries SET due_at = 0")
    claimed = world.claim(sent.broadcast_id)
    lost = Outcome(claimed.deliveries[0].id, DeliveryStatus.QUEUED, 1, 5, 5, reason="Later.")
    sent.record("c" * 24, lost)
    for _ in range(2):
        sent.record(claimed.id, lost)
    assert told(sent).count("retrying") == 2


def test_a_delivery_keeps_a_bounded_number_of_events(world: World) -> None:
    sent = left(world)
    for moment in range(events.MOST + 10):
        with world.database.writing() as db:
            events.keep(db, [events.Event(sent.only.id, moment, EventKind.HELD)])
    assert told(sent).count("held") == events.MOST


def test_the_search_for_a_recipient_goes_by_an_index(world: World) -> None:
    world.session()
    for _ in range(3):
        world.ready([ADA, GRACE])
    where = "deliveries.recipient IN"
    with noted(world.database, where) as statements, world.database.reading() as db:
        page = delivery_log.to_recipients(
            db, DeliveryScope(world.client_id), [ADA], PageRequest(page_size=2, descending=True)
        )
    assert (page.total, len(page.items)) == (3, 2)
    assert page.items[0].delivery.id > page.items[1].delivery.id
    how = "EXPLAIN" if "postgresql" in world.settings.database else "EXPLAIN QUERY PLAN"
    assert statements
    for statement, values in statements:
        with world.database.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
            if how == "EXPLAIN":  # of three rows Postgres would rather read all
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = connection.exec_driver_sql(f"{how} {statement}", values).all()
        assert "ix_deliveries_recipient_id" in str(plan)
