"""Claims that an opt-out revokes: how dispatchers hear of them, and who waits for that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.core import opt_outs
from service.core.deliveries.opted_out import OptOutOwner
from service.core.revocations import ClaimKey
from service.database import now_ms
from service.dispatch.lease import Lease
from service.dispatch.sending.revocations import Revocations, UnheardError, await_end
from service.models import OptOutSource
from tests.world import ADA, World


def test_an_opt_out_is_answered_when_its_revocations_are_heard(world: World) -> None:
    lease = Lease(world.database, 3_600.0)
    lease.join()
    stopped: list[Sequence[ClaimKey]] = []
    process = Revocations(world.database, lease, stopped.append)
    process.turn()
    claims = revoked(world, lease.id)
    with pytest.raises(UnheardError):
        await_end(world.database, claims, longest=-1.0)
    process.turn()
    assert stopped == [claims]
    await_end(world.database, claims, longest=-1.0)


def revoked(world: World, claim_id: str) -> list[ClaimKey]:
    """Let Ada opt out while a process has claimed a delivery to her."""
    session_id = world.session()
    world.claim(world.ready([ADA]), claim_id=claim_id)
    with world.database.writing() as db:
        whose = OptOutOwner(world.client_id, session_id)
        return opt_outs.stop(db, whose, [ADA], OptOutSource.MANUAL, now=now_ms())
