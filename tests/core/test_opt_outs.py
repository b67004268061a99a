"""Who is left out: of what is made from now on, and of what waits to be sent."""

from __future__ import annotations

from service.core import opt_outs
from service.core.deliveries import transitions
from service.core.deliveries.opted_out import OptOutOwner
from service.database import now_ms
from service.models import DeliveryStatus
from tests.world import ADA, GRACE, World

HOUR = 3_600_000


def test_whoever_is_added_gets_nothing_either_of_what_waits_to_be_sent(world: World) -> None:
    session_id, other, now = world.session(), world.session(), now_ms()
    waiting = world.ready([ADA, GRACE])
    planned = world.ready([ADA], send_at=now + HOUR)
    elsewhere = world.ready([ADA], session_id=other)
    begun, over = world.ready([ADA]), world.ready([ADA])
    world.claim(begun)
    with world.database.writing() as db:
        expired = (DeliveryStatus.FAILED, "expired", "Too late.")
        transitions.withdraw(db, over, *expired, limit=1, now=now)
        opt_outs.add(db, OptOutOwner(world.client_id, session_id), ADA, now=now)
    made = (waiting, planned, elsewhere, begun, over)
    assert [[(row.status, row.code) for row in world.deliveries(each)] for each in made] == [
        [("failed", "opted_out"), ("queued", None)],
        [("failed", "opted_out")],
        [("queued", None)],
        [("sending", None)],
        [("failed", "expired")],
    ]
    world.assert_counters_equal_rows(made)
    assert [world.get(each).status for each in (waiting, planned)] == ["sending", "completed"]
