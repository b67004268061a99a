"""Who opts out while deliveries are queued, claimed, retried, rescued or fanned out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from service.core import opt_outs, revocations
from service.core.deliveries import chunks, claims, opted_out, transitions
from service.core.deliveries.opted_out import OptOutOwner
from service.core.deliveries.transitions import Outcome
from service.core.revocations import ClaimKey
from service.database import now_ms
from service.models import DeliveryStatus, OptOutSource
from tests.world import ADA, GRACE, Claims, World

QUEUED = DeliveryStatus.QUEUED


def stop(world: World, session_id: str | None = None) -> list[ClaimKey]:
    """Let Ada opt out of a session, or of all that the client sends."""
    with world.database.writing() as db:
        whose = OptOutOwner(world.client_id, session_id)
        return opt_outs.stop(db, whose, [ADA], OptOutSource.KEYWORD, now=now_ms())


def codes(world: World, broadcast_id: str) -> list[str | None]:
    return [each.code for each in world.deliveries(broadcast_id)]


def test_a_client_wide_opt_out_ends_what_all_its_sessions_have_queued(world: World) -> None:
    made = [world.ready([ADA, GRACE], session_id=world.session()) for _ in range(2)]
    assert stop(world) == []
    made.append(world.ready([ADA, GRACE], session_id=world.session()))
    assert [codes(world, each) for each in made] == [["opted_out", None]] * 3
    world.assert_counters_equal_rows(made)
    with world.database.reading() as db:
        assert opt_outs.among(db, OptOutOwner(world.client_id), [ADA, GRACE]) == {ADA}


def test_a_claim_is_revoked_until_its_dispatcher_has_heard(world: World) -> None:
    world.session()
    broadcast_id = world.ready([ADA, GRACE])
    claim = world.claim(broadcast_id)
    (revoked,) = stop(world)
    assert revoked == ClaimKey(claim.deliveries[0].id, claim.deliveries[0].claimed_at)
    other = world.enter()
    with world.database.writing() as db:
        assert revocations.of_dispatcher(db, claim.id) == [revoked]
        assert revocations.of_dispatcher(db, other) == []
        assert not revocations.are_heard(db, [revoked])
        revocations.acknowledge(db, [revoked])
        assert revocations.are_heard(db, [revoked])
        assert not revocations.are_over(db, [revoked])


def test_any_number_of_revoked_claims_is_asked_about(world: World) -> None:
    claims_ = [ClaimKey(f"{number:024x}", 1) for number in range(33_000)]
    with world.database.reading() as db:
        assert revocations.are_heard(db, claims_)
        assert revocations.are_over(db, claims_)


def back(world: World, claim: Claims, broadcast_id: str) -> None:
    """Queue what was claimed again, as a sender does that must try once more."""
    del broadcast_id
    now = now_ms()
    outcomes = [Outcome(each.id, QUEUED, 1, now, now) for each in claim.deliveries]
    with world.database.writing() as db:
        opted_out.queueing(db)
        transitions.record(db, claim.id, outcomes, now=now)


def release(world: World, claim: Claims, broadcast_id: str) -> None:
    del broadcast_id
    with world.database.writing() as db:
        assert claims.release(db, claim.id, claim.deliveries[0].claimed_at, now=now_ms()) == 2


def return_untouched(world: World, claim: Claims, broadcast_id: str) -> None:
    with world.database.writing() as db:
        claims.return_untouched(db, claim.id, broadcast_id, set(), now=now_ms())


def rescue(world: World, claim: Claims, broadcast_id: str) -> None:
    with world.database.writing() as db:
        claims.rescue(db, claim.id, broadcast_id, resend=True, now=now_ms())


@pytest.mark.parametrize("queue", [back, release, return_untouched, rescue])
@pytest.mark.parametrize("reach", ["client", "session"])
def test_whatever_queues_a_claimed_delivery_again_ends_it_for_who_has_opted_out(
    world: World, queue: Callable[[World, Claims, str], None], reach: str
) -> None:
    session_id = world.session()
    broadcast_id = world.ready([ADA, GRACE])
    claim = world.claim(broadcast_id)
    stop(world, None if reach == "client" else session_id)
    queue(world, claim, broadcast_id)
    assert [each.status for each in world.deliveries(broadcast_id)] == ["failed", "queued"]
    assert codes(world, broadcast_id)[0] == "opted_out"
    world.assert_counters_equal_rows([broadcast_id])


def test_an_opt_out_waits_for_a_fan_out_that_does_not_know_of_it(world: World) -> None:
    world.session()
    broadcast_id = world.broadcast([ADA, GRACE])
    stopping = threading.Thread(target=stop, args=(world,))
    with world.database.writing() as db:
        chunks.fan_out(db, broadcast_id, now=now_ms())
        stopping.start()
        stopping.join(0.2)
        assert stopping.is_alive()
    stopping.join(60.0)
    assert codes(world, broadcast_id) == ["opted_out", None]
