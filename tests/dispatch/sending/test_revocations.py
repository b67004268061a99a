"""Claims that an opt-out revokes: how dispatchers hear of them, and who waits for that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.core import opt_outs, revocations
from service.core.deliveries.opted_out import OptOutOwner
from service.core.revocations import ClaimKey
from service.database import now_ms
from service.dispatch.lease import Lease
from service.dispatch.sending.revocations import Revocations, UnheardError, await_end
from service.models import OptOutSource
from tests.world import ADA, World


class Process:
    """A dispatcher of which only the turns that read revocations run."""

    def __init__(self, world: World) -> None:
        self.is_idle = True
        self.now = 0.0
        self.stopped: list[Sequence[ClaimKey]] = []
        self.lease = Lease(world.database, 3_600.0)
        self.lease.join()
        self.turn = Revocations(
            world.database, self.lease, self.stopped.append, lambda: self.is_idle, lambda: self.now
        ).turn


@pytest.fixture
def process(world: World) -> Process:
    return Process(world)


def revoked(world: World, claim_id: str) -> list[ClaimKey]:
    """Let Ada opt out while a process has claimed a delivery to her."""
    session_id = world.session()
    world.claim(world.ready([ADA]), claim_id=claim_id)
    with world.database.writing() as db:
        whose = OptOutOwner(world.client_id, session_id)
        return opt_outs.stop(db, whose, [ADA], OptOutSource.MANUAL, now=now_ms())


def are_heard(world: World, claims: Sequence[ClaimKey]) -> bool:
    with world.database.reading() as db:
        return revocations.are_heard(db, claims)


def test_an_opt_out_is_answered_when_its_revocations_are_heard(
    world: World, process: Process
) -> None:
    claims = revoked(world, process.lease.id)
    with pytest.raises(UnheardError):
        await_end(world.database, claims, longest=-1.0)
    process.is_idle = False
    process.turn()
    assert process.stopped == [claims]
    await_end(world.database, claims, longest=-1.0)


def test_a_process_reads_at_each_turn_while_it_has_claimed_something(
    world: World, process: Process
) -> None:
    process.turn()
    process.is_idle = False
    claims = revoked(world, process.lease.id)
    assert process.turn() == 0.1
    assert are_heard(world, claims)


def test_an_idle_process_reads_once_a_second(
    world: World, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.turn()
    with monkeypatch.context() as patch:
        patch.setattr(world.database, "reading", None)
        for process.now in (0.1, 0.5, 0.99):
            assert process.turn() == 0.1
    claims = revoked(world, process.lease.id)
    process.now = 1.0
    process.turn()
    assert are_heard(world, claims)
