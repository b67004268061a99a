"""Where a provider's message ids lead."""

from __future__ import annotations

import pytest

from service.channels.webhooks import Receipt, ReceiptState
from service.core import sent_parts
from service.core.sent_parts import PartSent, Place
from tests.core.test_receipts import left
from tests.probe import Stage
from tests.world import ADA, GRACE, JOAN, World


@pytest.fixture(autouse=True)
def _stage(stage: Stage) -> None:
    del stage


def look(world: World, session_id: str, recipients: dict[str, str]) -> dict[str, Place]:
    with world.database.reading() as db:
        return sent_parts.find(db, session_id, recipients)


def test_a_message_is_found_among_the_deliveries_to_its_recipient(world: World) -> None:
    sent = left(world, to=[ADA, GRACE, JOAN], says="one two")
    ada, grace, _ = sent.deliveries
    found = look(world, sent.session_id, {"id-0.1": ADA, "id-1.0": GRACE, "id-2.0": "", "x": ADA})
    assert found == {"id-0.1": Place(ada.id, 1), "id-1.0": Place(grace.id, 0)}


def test_a_message_that_is_to_be_sent_again_is_still_found(world: World) -> None:
    sent = left(world, message_ids="!id-0.0")
    assert look(world, sent.session_id, {"id-0.0": ADA}) == {"id-0.0": Place(sent.only.id, 0)}


def test_a_recipient_may_be_named_in_several_forms(world: World) -> None:
    sent = left(world, to=["5511987654321"])
    found = look(world, sent.session_id, {"id-0.0": "551187654321 5511987654321"})
    assert found == {"id-0.0": Place(sent.only.id, 0)}


def test_another_sessions_messages_are_not_found(world: World) -> None:
    left(world)
    other = left(world, message_ids="other")
    assert look(world, other.session_id, {"id-0.0": ADA}) == {}


def test_what_is_remembered_by_its_id_needs_no_recipient(world: World) -> None:
    sent = left(world, message_ids=None)
    with world.database.writing() as db:
        sent_parts.remember(db, [PartSent(sent.session_id, "id-x", sent.only.id, 1)])
    assert look(world, sent.session_id, {"id-x": ""}) == {"id-x": Place(sent.only.id, 1)}


def test_an_older_broadcast_of_the_session_is_searched_too(world: World) -> None:
    sent = left(world, message_ids="old")
    for number in range(3):
        world.ready([ADA], f"Hello{number}", session_id=sent.session_id)
    assert look(world, sent.session_id, {"old": ADA}) == {"old": Place(sent.only.id, 0)}


def test_a_receipt_without_our_reference_moves_its_delivery(world: World) -> None:
    sent = left(world, to=[ADA, GRACE])
    told = [
        Receipt(f"id-{place}.0", ReceiptState.READ, recipients=(who,))
        for place, who in enumerate((ADA, GRACE))
    ]
    assert sent.tell(*told).applied == 2
    assert world.statuses(sent.broadcast_id) == {"read": 2}
