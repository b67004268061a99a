"""The likely end of a broadcast, and why none can be told."""

from __future__ import annotations

from typing import Any

import pytest

from service.core import estimates, holding
from service.core.deliveries.timelines import Bucket
from service.core.estimates import Estimate
from service.database import now_ms
from service.models import COUNTED, Broadcast
from tests.world import World, numbers

SECOND, MINUTE = 1_000, 60_000
NONE = dict.fromkeys(map(str, COUNTED), 0)


def bucket(start: int, width: int = 5_000, **gain: int) -> Bucket:
    return Bucket(start, start + width, {**NONE, **gain})


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ([], 0),
        ([bucket(0, sent=500)], 0),
        ([bucket(90_000, sent=500), bucket(95_000, delivered=100, failed=5)], 60.5),
        ([bucket(95_000, sent=100), bucket(95_000, sent=-90, delivered=90)], 20),
        ([bucket(95_000, sent=100, failed=-5_000)], 20),
        ([bucket(60_000, 600_000, sent=80)], 2),
        ([bucket(99_990, sent=80)], 80),
    ],
)
def test_the_rate_is_what_ended_in_the_last_minute(buckets: list[Bucket], expected: float) -> None:
    assert estimates.rate(buckets, now=100_000) == expected


class Case:
    """A broadcast to ten, of which nothing is sent."""

    def __init__(self, world: World, **session: Any) -> None:
        self.world = world
        self.now = now_ms()
        self.session_id = world.session(**session)

    def estimate(self, observed: float = 0, says: str = "Hello", **order: Any) -> Estimate:
        broadcast_id = self.world.ready(numbers(10), says, **order)
        with self.world.database.reading() as db:
            broadcast = db.get_one(Broadcast, broadcast_id)
            made = estimates.make(db, broadcast, observed, now=self.now)
        if made.ends_at is None:
            return made
        return made._replace(ends_at=round((made.ends_at - self.now) / 1000))


def test_an_end_follows_from_the_rate_that_was_seen_or_the_sessions_own(world: World) -> None:
    case = Case(world, rate=2)
    assert case.estimate(0.5) == Estimate(20)
    assert case.estimate(100) == Estimate(5)
    assert case.estimate() == Estimate(5)
    later = case.now + 60 * SECOND
    assert case.estimate(0.1, send_at=later) == Estimate(65)
    short = case.estimate(1, expires_at=case.now + 4 * SECOND)
    assert short == Estimate(4, expiring=6)
    with world.database.writing() as db:
        until = case.now + 30 * SECOND
        holding.hold_session(db, case.session_id, "Too fast.", until=until, now=case.now)
    assert case.estimate(100) == Estimate(35)


def test_a_delivery_that_waits_for_its_next_attempt_ends_no_sooner(world: World) -> None:
    case = Case(world)
    broadcast_id = world.ready(numbers(2))
    world.tell(
        "UPDATE deliveries SET due_at = :at WHERE broadcast_id = :id AND recipient = :who",
        at=case.now + 90 * SECOND,
        id=broadcast_id,
        who=numbers(2)[1],
    )
    with world.database.reading() as db:
        made = estimates.make(db, db.get_one(Broadcast, broadcast_id), 10, now=case.now)
    assert made == Estimate(case.now + 90 * SECOND)


def test_where_no_end_can_be_told_a_sentence_says_why(world: World) -> None:
    case = Case(world)
    assert case.estimate().reason == (
        "Nothing of it was sent in the last minute, and its session has no `rate` to go by."
    )
    assert "has not begun" in (case.estimate(5, send_at=case.now + MINUTE).reason or "")
    for status, reason in (
        ("status = 'paused', reason = 'By hand.'", "By hand."),
        ("status = 'cancelled'", "It is cancelled: only what is under way still ends."),
        ("session_id = NULL", "Its session was deleted."),
        ("closed_at = 1", "It has ended."),
    ):
        broadcast_id = world.ready(numbers(1))
        world.tell(f"UPDATE broadcasts SET {status} WHERE id = :id", id=broadcast_id)  # noqa: S608
        with world.database.reading() as db:
            broadcast = db.get_one(Broadcast, broadcast_id)
            assert estimates.make(db, broadcast, 5, now=case.now) == Estimate(reason=reason)
    with world.database.writing() as db:
        holding.hold_session(db, case.session_id, "Unpaid.", until=None, now=case.now)
    assert case.estimate(5).reason == "Its session cannot send: Unpaid."
