"""Edits and the dispatchers that may know what a broadcast said before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from service.core import broadcasts, contacts, dispatchers, groups, starts
from service.core.deliveries import claims
from service.database import now_ms
from service.dispatch.sending.prepared import PreparedBroadcasts
from service.errors import ConflictError, StaleVersionError
from service.models import SendType
from tests.probe import Stage
from tests.waiting import until
from tests.workers import pause, resume
from tests.world import ADA, GRACE, JOAN, World

HOUR = 3_600_000
_PAUSE = text("UPDATE broadcasts SET status = 'paused' WHERE id = :id")


def replace(world: World, broadcast_id: str, **changes: Any) -> None:
    world.edit(world.get(broadcast_id), **changes)


def test_a_dispatcher_that_knows_a_former_revision_claims_nothing(world: World) -> None:
    world.session()
    broadcast_id = world.ready([ADA, GRACE])
    pause(world, broadcast_id)
    replace(world, broadcast_id, message={"text": "Goodbye"})
    resume(world, broadcast_id)
    world.fan_out(broadcast_id)
    assert world.claim(broadcast_id).deliveries == []
    claim_id = world.enter()
    with world.database.writing() as db:
        shares, revisions = {broadcast_id: 10}, {broadcast_id: 1}
        taken = claims.take(db, claim_id, shares, now=now_ms(), revisions=revisions)
    assert {each.recipient for each in taken} == {ADA, GRACE}


def test_a_replaced_message_is_prepared_anew(world: World, stage: Stage) -> None:
    del stage
    session_id = world.session("probe")
    prepared = PreparedBroadcasts(world.settings, world.database, world.accounts)
    broadcast_id = world.broadcast([ADA], "one", send_at=now_ms() + HOUR)

    def parts() -> tuple[Any, ...]:
        made, version = world.get(broadcast_id), world.get_session(session_id).version
        return prepared.get(broadcast_id, version, made.expires_at, made.revision).parts

    assert parts() == ("one",)
    replace(world, broadcast_id, message={"text": "two words"})
    assert parts() == ("two", "words")


def test_what_is_replaced_is_what_is_sent(world: World) -> None:
    world.session()
    broadcast_id = world.ready([ADA, GRACE], "Hello")
    pause(world, broadcast_id)
    dispatcher = world.dispatcher(poll_interval=0.01)
    dispatcher.start()
    try:
        replace(world, broadcast_id, message={"text": "Goodbye"}, to=[JOAN])
        resume(world, broadcast_id)
        world.await_status(broadcast_id, "completed")
    finally:
        dispatcher.stop(60.0)
    assert [(each["recipient"], each["body"]["body"]) for each in world.received()] == [
        (JOAN, "Goodbye")
    ]
    world.assert_counters_equal_rows([broadcast_id])


def test_a_claim_under_way_is_waited_for_and_seen(world: World) -> None:
    """On Postgres the edit begins while a claim is not committed; on SQLite it cannot begin."""
    world.session()
    broadcast_id = world.ready([ADA, GRACE])
    pause(world, broadcast_id)
    store = world.planned_edit(world.get(broadcast_id), message={"text": "Goodbye"})
    resume(world, broadcast_id)
    claim_id, ended = world.enter(), threading.Event()
    refused: list[str] = []

    def change() -> None:
        try:
            store()
        except ConflictError as error:
            refused.append(error.message)
        ended.set()

    with world.database.writing() as db:
        dispatchers.hold(db, claim_id)
        assert claims.take(db, claim_id, {broadcast_id: 1}, now=now_ms())
        # As a pause does that comes while the claim is under way.
        db.execute(_PAUSE, {"id": broadcast_id})
        other = threading.Thread(target=change)
        other.start()
        assert not ended.wait(0.2)
    until(ended.is_set)
    other.join()
    assert len(refused) == 1
    assert "Try again in a second" in refused[0]


def test_an_edit_counts_its_revision(world: World) -> None:
    world.session()
    broadcast_id = world.broadcast([ADA], send_at=now_ms() + HOUR)
    for count in (1, 2):
        replace(world, broadcast_id, message={"text": "Goodbye"})
        assert world.get(broadcast_id).revision == count


def test_of_two_edits_at_once_the_later_one_undoes_nothing(world: World) -> None:
    world.session()
    broadcast_id = world.broadcast([ADA], send_at=now_ms() + HOUR)
    former = world.get(broadcast_id)
    world.edit(former, to=f"{GRACE},{JOAN}")
    with pytest.raises(StaleVersionError):
        world.edit(former, message={"text": "Goodbye"})
    assert world.get(broadcast_id).to == f"{GRACE},{JOAN}"


def test_what_an_edit_has_read_may_not_have_changed_since(world: World) -> None:
    world.session()
    broadcast_id = world.broadcast([ADA], send_at=now_ms() + HOUR, sample=1)
    former = world.get(broadcast_id)
    world.tell("UPDATE broadcasts SET sample = NULL WHERE id = :id", id=broadcast_id)
    with pytest.raises(StaleVersionError):
        world.edit(former, message={"text": "Goodbye"})
    assert world.get(broadcast_id).sample is None


def cancel(world: World, broadcast_id: str) -> None:
    with world.database.writing() as db:
        broadcasts.delete(db, world.client_id, broadcast_id, now=now_ms())


def reword(world: World, broadcast_id: str) -> None:
    world.edit(world.get(broadcast_id), message={"text": "Goodbye"})


@pytest.mark.parametrize("has_members", [True, False])
@pytest.mark.parametrize("change", [cancel, reword])
def test_a_start_overwrites_nothing_that_has_changed_since_it_was_planned(
    world: World, change: Callable[[World, str], None], *, has_members: bool
) -> None:
    world.session()
    with world.database.writing() as db:
        ada = contacts.create(db, world.client_id, {"name": "Ada", "phones": [ADA]}).id
        fields = {"name": "friends", "contacts": [ada]}
        group_id = groups.create(db, world.client_id, fields).id
    later = now_ms() + HOUR
    broadcast_id = world.broadcast(group_id, send_type=SendType.GROUP, send_at=later)

    def members(*contact_ids: str) -> None:
        with world.database.writing() as db:
            groups.update(db, world.client_id, group_id, {"contacts": contact_ids})

    members(*[ada] * has_members)
    with world.database.reading() as db:
        found = starts.plan(db, broadcast_id, accounts=world.accounts, now=later + 1)
    members(ada)
    change(world, broadcast_id)
    before = world.get(broadcast_id)
    with world.database.writing() as db:
        assert not starts.begin(db, found, chunk=100, now=later + 1)
    after = world.get(broadcast_id)
    names = ("status", "reason", "version", "message", "total", "deleted_at")
    assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]
