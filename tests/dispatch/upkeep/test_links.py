"""Which process keeps the link of a session. No link is opened here that connects anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from service.channels import registry
from service.channels.links import Link
from service.channels.webhooks import Inbound, Report
from service.core import links, settled_replies
from service.core.revocations import ClaimKey
from service.database import now_ms
from service.dispatch.lease import Lease
from service.dispatch.upkeep.links import GoneError, LinkKeeper
from service.models import Session
from tests.probe import Probe
from tests.world import ADA, World


class Still:
    """A link that is up at once and to nowhere."""

    def __init__(self) -> None:
        self.is_up = True

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.is_up = False


class Process:
    """What a process keeps."""

    def __init__(self, world: World) -> None:
        self.accounts = world.with_settings().accounts
        self.lease = Lease(world.database, 3_600.0)
        self.lease.join()
        self.awaited: list[ClaimKey] = []
        self.keeper = LinkKeeper(world.database, self.accounts, self.lease, self.awaited.extend)
        self.links = self.accounts.channels.context.links

    def turn(self) -> set[str]:
        self.keeper.turn()
        return self.links.kept()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Report], None]]:
    """Make the probe a channel that needs a link; return what its links were told to call."""
    hears: list[Callable[[Report], None]] = []

    def link(_driver: Probe, hear: Callable[[Report], None]) -> Link:
        hears.append(hear)
        return Still()

    monkeypatch.setattr(registry, "LINKED", frozenset({"probe"}))
    monkeypatch.setattr("service.dispatch.upkeep.links.LINKED", frozenset({"probe"}))
    monkeypatch.setattr(Probe, "link", link, raising=False)
    return hears


@pytest.mark.usefixtures("stage", "opened")
def test_processes_share_the_links_and_take_over_from_who_is_gone(world: World) -> None:
    sessions = {world.session("probe", name=f"n{number}") for number in range(4)}
    first, second = Process(world), Process(world)
    assert len(first.turn()) == 2
    assert len(second.turn()) == 1
    assert first.turn() | second.turn() == sessions
    assert not first.links.kept() & second.links.kept()
    first.keeper.close()
    first.lease.leave()
    assert second.turn() == sessions
    second.keeper.close()


@pytest.mark.usefixtures("stage", "opened")
def test_who_may_not_send_keeps_no_links(world: World) -> None:
    session_id = world.session("probe")
    process = Process(world)
    assert process.turn() == {session_id}
    process.lease.leave()
    assert process.turn() == set()


@pytest.mark.usefixtures("stage")
def test_a_link_is_opened_again_when_the_settings_change_and_only_then(
    world: World, opened: list[Callable[[Report], None]]
) -> None:
    session_id = world.session("probe")
    process = Process(world)
    process.turn()
    with world.database.writing() as db:
        db.get_one(Session, session_id).rate = 5.0
    process.turn()
    assert len(opened) == 1
    with world.database.writing() as db:
        db.get_one(Session, session_id).settings = {"host": "other"}
    process.turn()
    assert len(opened) == 2
    with world.database.writing() as db:
        db.delete(db.get_one(Session, session_id))
    assert process.turn() == set()
    with pytest.raises(GoneError):
        opened[0](Report())


@pytest.mark.usefixtures("stage")
def test_what_comes_through_a_link_is_kept_and_settled_where_the_link_is(
    world: World, opened: list[Callable[[Report], None]]
) -> None:
    session_id = world.session("probe")
    process = Process(world)
    process.turn()
    opened[0](Report(inbound=[Inbound("in-1", ADA, "text", "Hello")]))
    with world.database.writing() as db:
        elsewhere = links.kept(db)
        assert elsewhere == {session_id}
        assert settled_replies.settle(db, 9, elsewhere=elsewhere, now=now_ms()) == []
        assert len(settled_replies.settle(db, 9, now=now_ms())) == 1
    process.keeper.close()
