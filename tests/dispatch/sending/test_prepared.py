"""Broadcasts ready to be sent."""

from __future__ import annotations

import gc
import weakref

import pytest
from sqlalchemy.exc import NoResultFound

from service import ids
from service.channels.content import Content, Part, UnsupportedContentError
from service.core import sessions
from service.dispatch.sending.drivers import UndecryptableSessionError
from service.dispatch.sending.prepared import PreparedBroadcast, PreparedBroadcasts
from service.models import OnUncertain
from tests.conftest import on_sqlite
from tests.probe import Probe, Stage
from tests.world import ADA, World


@pytest.fixture
def prepared(world: World) -> PreparedBroadcasts:
    return PreparedBroadcasts(world.settings, world.database, world.accounts)


def get(world: World, prepared: PreparedBroadcasts, broadcast_id: str) -> PreparedBroadcast:
    """Ask for a broadcast as the claimer does."""
    broadcast = world.get(broadcast_id)
    session = world.get_session(str(broadcast.session_id))
    return prepared.get(broadcast_id, session.version, broadcast.expires_at)


def change(world: World, session_id: str, **fields: object) -> None:
    with world.database.writing() as db:
        channels, vault = world.accounts.channels, world.vault
        sessions.update(db, world.client_id, session_id, fields, channels=channels, vault=vault)


def test_what_is_the_same_for_all_is_made_once(
    world: World, stage: Stage, prepared: PreparedBroadcasts
) -> None:
    plans: list[Content] = []
    words = stage.plan

    def plan(content: Content) -> tuple[Part, ...]:
        plans.append(content)
        return words(content)

    stage.plan = plan
    world.session("probe")
    broadcast_id = world.broadcast([ADA], "two words")
    plans.clear()
    first, second = (get(world, prepared, broadcast_id) for _ in range(2))
    assert first is second
    assert first.parts == ("two", "words")
    assert len(plans) == 1


def test_broadcasts_of_a_session_share_its_driver(
    world: World, stage: Stage, prepared: PreparedBroadcasts
) -> None:
    session_id = world.session("probe")
    made = [world.broadcast([ADA]) for _ in range(3)]
    stage.opened.clear()
    drivers = {get(world, prepared, each).driver for each in made}
    assert len(drivers) == 1
    assert [account.session_id for account in stage.opened] == [session_id]


def test_a_session_that_changed_is_opened_anew(
    world: World, stage: Stage, prepared: PreparedBroadcasts
) -> None:
    del stage
    session_id = world.session("probe")
    broadcast_id = world.broadcast([ADA])
    before = get(world, prepared, broadcast_id)
    change(world, session_id, max_attempts=2, on_uncertain=OnUncertain.RESEND)
    after = get(world, prepared, broadcast_id)
    assert after.driver is not before.driver
    assert (before.policy.max_attempts, before.policy.resend) == (6, False)
    assert (after.policy.max_attempts, after.policy.resend) == (2, True)


def test_only_so_many_drivers_are_kept_and_those_in_use(
    world: World, stage: Stage, prepared: PreparedBroadcasts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second driver of a session would not know what the first has locked."""
    monkeypatch.setattr("service.dispatch.sending.drivers._KEPT", 2)
    monkeypatch.setattr("service.dispatch.sending.prepared._KEPT", 1)
    sessions = [world.session("probe") for _ in range(4)]
    made = [world.broadcast([ADA], session_id=session_id) for session_id in sessions]
    under_way = get(world, prepared, made[0])
    idle = weakref.ref(get(world, prepared, made[1]).driver)
    for each in made[2:]:
        get(world, prepared, each)
    gc.collect()
    assert idle() is None
    stage.opened.clear()
    assert get(world, prepared, made[0]).driver is under_way.driver
    get(world, prepared, made[3])
    assert stage.opened == []
    get(world, prepared, made[1])
    assert [account.session_id for account in stage.opened] == [sessions[1]]


@on_sqlite
@pytest.mark.parametrize(
    ("own", "channels", "expected"), [(7, 4, 7), (None, 4, 4), (None, None, None)]
)
def test_a_session_has_its_own_concurrency_or_its_channels(  # noqa: PLR0913, PLR0917 - fixtures and a row
    world: World,
    stage: Stage,
    prepared: PreparedBroadcasts,
    monkeypatch: pytest.MonkeyPatch,
    own: int | None,
    channels: int | None,
    expected: int | None,
) -> None:
    del stage
    monkeypatch.setattr(Probe, "concurrency", channels)
    world.session("probe", concurrency=own)
    assert get(world, prepared, world.broadcast([ADA])).concurrency == expected


def test_an_expiry_that_changed_counts(
    world: World, stage: Stage, prepared: PreparedBroadcasts
) -> None:
    del stage
    world.session("probe")
    broadcast_id = world.broadcast([ADA])
    get(world, prepared, broadcast_id)
    world.tell("UPDATE broadcasts SET expires_at = expires_at + 1000")
    expected = world.get(broadcast_id).expires_at
    assert get(world, prepared, broadcast_id).policy.expires_at == expected


@pytest.mark.parametrize("choice", OnUncertain)
def test_what_is_uncertain_is_sent_again_where_the_session_chose_it(
    world: World, stage: Stage, prepared: PreparedBroadcasts, choice: OnUncertain
) -> None:
    del stage
    world.session("probe", on_uncertain=choice)
    policy = get(world, prepared, world.broadcast([ADA])).policy
    assert policy.resend is (choice is OnUncertain.RESEND)


def test_only_so_many_are_kept(
    world: World, stage: Stage, prepared: PreparedBroadcasts, monkeypatch: pytest.MonkeyPatch
) -> None:
    del stage
    monkeypatch.setattr("service.dispatch.sending.prepared._KEPT", 2)
    world.session("probe")
    first, second, third = (world.broadcast([ADA]) for _ in range(3))
    kept = {each: get(world, prepared, each) for each in (first, second)}
    get(world, prepared, first)
    get(world, prepared, third)
    assert get(world, prepared, first) is kept[first]
    assert get(world, prepared, second) is not kept[second]


def test_a_session_that_cannot_be_opened_is_told_from_a_message_that_cannot_be_prepared(
    world: World, stage: Stage, prepared: PreparedBroadcasts
) -> None:
    world.session("probe")
    broadcast_id = world.broadcast([ADA])

    def fail(*_: object) -> None:
        raise ValueError("its key is gone")

    stage.open = fail
    with pytest.raises(UndecryptableSessionError, match=r"ValueError: its key is gone"):
        get(world, prepared, broadcast_id)
    stage.open = lambda _account: None

    def refuse(_content: Content) -> tuple[()]:
        raise UnsupportedContentError("message.text", "No words.")

    stage.plan = refuse
    with pytest.raises(UnsupportedContentError):
        get(world, prepared, broadcast_id)


def test_a_broadcast_that_is_gone_cannot_be_prepared(
    world: World, prepared: PreparedBroadcasts
) -> None:
    del world
    with pytest.raises(NoResultFound):
        prepared.get(ids.new_broadcast(), 0, 0)
