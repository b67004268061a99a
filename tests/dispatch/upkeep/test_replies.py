"""The turn in which replies are settled and confirmed."""

from __future__ import annotations

import threading
from unittest.mock import ANY

import pytest

from service.channels.errors import RetryableError
from service.channels.webhooks import Inbound
from service.core import inbox_sessions, opt_out_policies, replies
from service.database import now_ms
from service.dispatch.upkeep.replies import Replies
from tests.probe import Call, Stage
from tests.world import ADA, GRACE, World, numbers


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
        session = inbox_sessions.get(db, session_id)
        stops = [Inbound(f"in-{each}", each, "text", "stop") for each in (ADA, GRACE)]
        replies.receive(db, session, stops, now=now_ms())
    while turns.turn() == 0.0:
        pass
    assert sorted(stage.calls) == [(ADA, "Bye.", ANY), (GRACE, "Bye.", ANY)]


def stop(world: World, *recipients: str) -> None:
    """Let people stop messages of a client that confirms it."""
    session_id = world.session("probe")
    with world.database.writing() as db:
        opt_out_policies.change(db, world.client_id, {"confirmation": "Bye."})
        stops = [Inbound(f"in-{each}", each, "text", "stop") for each in recipients]
        replies.receive(db, inbox_sessions.get(db, session_id), stops, now=now_ms())


def test_a_provider_that_does_not_answer_keeps_no_other_clients_reply_waiting(
    world: World, turns: Replies, stage: Stage
) -> None:
    opened = threading.Event()

    def send(call: Call) -> str:
        if call.recipient != ADA:
            assert opened.wait(60)
        return "id"

    stage.send = send
    stop(world, *numbers(20))
    turns.turn()
    stop(world.neighbour(), ADA)
    while ADA not in stage.recipients():
        assert turns.turn() == 0.0
    opened.set()
    while turns.turn() == 0.0:
        pass
    assert set(stage.recipients()) == {ADA, *numbers(20)}
