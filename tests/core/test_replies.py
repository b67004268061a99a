"""Replies: which broadcast they answer, and how they are counted."""

from __future__ import annotations

from typing import Any

from service.channels.webhooks import Inbound
from service.core import (
    inbox_sessions,
    opt_out_policies,
    opt_outs,
    paging,
    replies,
    retention,
    settled_replies,
)
from service.core.deliveries import transitions
from service.core.deliveries.opted_out import OptOutOwner
from service.core.deliveries.transitions import Outcome
from service.core.replies import ReplyFilter
from service.core.revocations import ClaimKey
from service.core.settled_replies import SettledReply
from service.database import now_ms
from service.models import DeliveryStatus, Reply
from tests.world import ADA, GRACE, World


def write(world: World, session_id: str, *inbound: Inbound, now: int = 0) -> list[ClaimKey]:
    with world.database.writing() as db:
        session = inbox_sessions.get(db, session_id)
        return replies.receive(db, session, inbound, now=now or now_ms())


def said(text: str, sender: str = ADA, message_id: str = "", **more: Any) -> Inbound:
    return Inbound(message_id or f"in-{sender}-{text}", sender, "text", text, **more)


def settle(world: World) -> list[SettledReply]:
    with world.database.writing() as db:
        return settled_replies.settle(db, 100, now=now_ms())


def kept(world: World, **wanted: Any) -> list[Reply]:
    request = paging.PageRequest(descending=True)
    with world.database.reading() as db:
        return [*replies.page(db, world.client_id, ReplyFilter(**wanted), request).items]


def sent(world: World, to: list[str], *, ids: str = "wamid.1", at: int = 0, **order: Any) -> str:
    """Return a broadcast that everybody has got."""
    broadcast_id = world.ready(to, **order)
    claim, now = world.claim(broadcast_id), at or now_ms()
    outcomes = [
        Outcome(each.id, DeliveryStatus.SENT, 1, now, now, ids) for each in claim.deliveries
    ]
    with world.database.writing() as db:
        transitions.record(db, claim.id, outcomes, now=now)
    return broadcast_id


def test_a_reply_belongs_to_the_last_broadcast_that_the_writer_got(world: World) -> None:
    session_id, other = world.session(), world.session()
    now = now_ms()
    sent(world, [ADA, GRACE], at=now - 3_000)
    second = sent(world, [ADA], at=now - 2_000)
    sent(world, [GRACE], at=now - 1_000)
    sent(world, [ADA], at=now - 1_000, session_id=other)
    world.ready([ADA])  # she has not got this one yet
    write(world, session_id, said("Yes!"), said("Who is this?", "4915112345678"), now=now)
    assert [(each.broadcast_id, each.recipient) for each in settle(world)] == [
        (second, ADA),
        (None, "4915112345678"),
    ]
    assert settle(world) == []
    assert world.get(second).replies == 1
    (reply,) = kept(world, broadcast_id=second)
    assert (reply.text, reply.word, reply.session_id) == ("Yes!", "yes", session_id)


def test_an_answer_that_names_its_message_belongs_to_that_one(world: World) -> None:
    session_id = world.session()
    first = sent(world, [ADA], ids="wamid.first")
    sent(world, [ADA], ids="wamid.second")
    write(world, session_id, said("This", answers="wamid.first"), said("That", answers="nothing"))
    assert [each.broadcast_id == first for each in settle(world)] == [True, False]


def test_the_other_form_of_a_number_is_the_same_person(world: World) -> None:
    session_id, written, known = world.session(), "551187654321", "5511987654321"
    broadcast_id = sent(world, [known])
    write(world, session_id, said("STOP", written, forms=(written, known)))
    (settled,) = settle(world)
    assert (settled.broadcast_id, settled.recipient) == (broadcast_id, known)
    with world.database.reading() as db:
        found = opt_outs.among(db, OptOutOwner(world.client_id, session_id), [written, known])
    assert found == {written, known}


def test_a_message_that_comes_again_is_kept_once_and_stops_nobody_again(world: World) -> None:
    session_id = world.session()
    whose = OptOutOwner(world.client_id, session_id)
    write(world, session_id, said("STOP", message_id="1"), said("START", message_id="2"))
    write(world, session_id, said("STOP", message_id="1"))
    assert len(kept(world)) == 2
    with world.database.reading() as db:
        assert opt_outs.among(db, whose, [ADA]) == set()


def test_a_confirmation_is_due_once_for_each_stop(world: World) -> None:
    session_id = world.session()
    with world.database.writing() as db:
        changes = {"confirmation": "Bye.", "welcome": "Hello.", "reach": "client"}
        opt_out_policies.change(db, world.client_id, changes)
    texts = ("start", "stop", "Stop", "hello", "start", "START", "stop")
    inbound = [said(text, message_id=str(number)) for number, text in enumerate(texts)]
    write(world, session_id, *inbound)
    due = [each.confirmation for each in settle(world)]
    assert due == [None, "Bye.", None, None, "Hello.", None, "Bye."]
    with world.database.reading() as db:
        assert opt_outs.among(db, OptOutOwner(world.client_id), [ADA]) == {ADA}


def test_answers_are_counted_by_what_they_say(world: World) -> None:
    session_id = world.session()
    broadcast_id = sent(world, [ADA, GRACE])
    write(
        world,
        session_id,
        *(said(text, message_id=text) for text in ("Yes", "yes!", "No")),
        said("YES", GRACE),
        Inbound("pic", GRACE, "image", "Look"),
    )
    settle(world)
    with world.database.reading() as db:
        found = replies.answers(db, broadcast_id)
    assert [(each.text, each.kind, each.replies, each.people) for each in found] == [
        ("YES", "text", 3, 2),
        ("Look", "image", 1, 1),
        ("No", "text", 1, 1),
    ]


def test_replies_are_found_by_person_text_and_session_and_forgotten_by_age(world: World) -> None:
    session_id, other = world.session(), world.session()
    write(world, session_id, said("I said 100% yes"), said("No", GRACE), now=1_000)
    write(world, other, said("Elsewhere"), now=2_000)
    assert [each.text for each in kept(world, text="100% Y")] == ["I said 100% yes"]
    assert [each.text for each in kept(world, recipients=(ADA,))] == [
        "Elsewhere",
        "I said 100% yes",
    ]
    assert [each.text for each in kept(world, session_id=other)] == ["Elsewhere"]
    with world.database.writing() as db:
        assert retention.extent(db, before=2_000).replies == 2
        assert retention.forget_replies(db, before=2_000, limit=10) == 2
    assert [each.text for each in kept(world)] == ["Elsewhere"]


def test_what_no_database_takes_is_left_out_of_a_reply(world: World) -> None:
    session_id = world.session()
    odd = f"a\0b{chr(0xD800)}" + "x" * 10_000
    write(world, session_id, Inbound("id \0", ADA, "text", odd, name=odd, payload=odd, answers=odd))
    (reply,) = kept(world)
    assert len(reply.text or "") <= replies.LONGEST_TEXT


def test_ids_and_senders_of_any_length_are_kept(world: World) -> None:
    session_id, now = world.session(), now_ms()
    long = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(5_000))
    write(world, session_id, Inbound(long, long, "text", "STOP", answers=long), now=now)
    settle(world)
    [reply] = kept(world)
    assert (reply.message_id, reply.recipient) == (long[:500], long[:500])
