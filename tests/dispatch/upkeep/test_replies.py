"""The turn in which replies are settled and confirmed."""

from __future__ import annotations

import pytest

from service.channels.errors import RetryableError
from service.channels.webhooks import Inbound
from service.core import opt_out_policies, replies
from service.database import now_ms
from service.dispatch.upkeep.replies import Replies
from service.models import Session
from tests.probe import Call, Stage
from tests.world import ADA, GRACE, World


@pytest.fixture
def turns(world: World) -> Replies:
    return Replies(world.settings, world.database, world.accounts)


def test_a_turn_without_replies_opens_no_transaction_for_writing(
    world: World, turns: Replies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.database, "writing", None)
    assert turns.turn() == world.settings.poll_interval


def test_a_confirmation_is_tried_once_and_keeps_no_other_from_being_sent(
    world: World, turns: Replies, stage: Stage
) -> None:
    def send(call: Call) -> str:
        if call.recipient == ADA:
            raise RetryableError("The provider is busy.")
        return "id"

    stage.send = send
    session_id = world.session("probe")
    with world.database.writing() as db:
        opt_out_policies.change(db, world.client_id, {"confirmation": "Bye."})
        session = db.get_one(Session, session_id)
        stops = [Inbound(f"in-{each}", each, "text", "stop") for each in (ADA, GRACE)]
        replies.receive(db, session, stops, now=now_ms())
    for _ in range(2):
        assert turns.turn() == world.settings.poll_interval
    assert [(call.recipient, call.body) for call in stage.calls] == [(ADA, "Bye."), (GRACE, "Bye.")]
