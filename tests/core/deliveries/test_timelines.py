"""How the counters of broadcasts moved, in a bounded number of buckets."""

from __future__ import annotations

import itertools
from collections import Counter

from service.core.deliveries import tallies, timelines
from service.core.deliveries.timelines import Bucket
from service.models import COUNTED, Broadcast
from tests.world import World, numbers

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NONE = dict.fromkeys(map(str, COUNTED), 0)


def move(world: World, broadcast_id: str, now: int, **gain: int) -> None:
    with world.database.writing() as db:
        tallies.move(db, {broadcast_id: Counter(gain)}, now=now)


def read(world: World, broadcast_id: str) -> list[Bucket]:
    with world.database.reading() as db:
        return timelines.read(db, db.get_one(Broadcast, broadcast_id))


def test_buckets_are_finer_at_first_and_add_up_to_the_counters(world: World) -> None:
    world.session()
    broadcast_id = world.broadcast(numbers(10), now=DAY)
    for after, gain in (
        (0, {"sent": 2}),
        (4_999, {"sent": 1, "failed": 1}),
        (5_000, {"sent": -1, "delivered": 1}),
        (2 * HOUR, {"delivered": -1, "read": 1}),
        (40 * DAY, {"failed": -1}),
    ):
        move(world, broadcast_id, DAY + after, **gain)
    spans = [
        (each.start - DAY, each.end - each.start, each.settled)
        for each in read(world, broadcast_id)
    ]
    assert spans == [
        (0, 5 * SECOND, 4),
        (5 * SECOND, 5 * SECOND, 0),
        (2 * HOUR, MINUTE, 0),
        (30 * DAY, 30 * DAY, 0),
    ]
    assert world.timeline(broadcast_id) == {**NONE, "sent": 2, "read": 1}


def test_a_scheduled_broadcast_begins_at_its_time_and_a_clock_behind_does_no_harm(
    world: World,
) -> None:
    world.session()
    broadcast_id = world.broadcast(numbers(3), now=DAY, send_at=9 * DAY, expires_at=12 * DAY)
    for moment in (8 * DAY, 9 * DAY + 7_000):
        move(world, broadcast_id, moment, sent=1)
    assert [each.start for each in read(world, broadcast_id)] == [9 * DAY, 9 * DAY + 5_000]


def test_a_broadcast_keeps_a_bounded_number_of_buckets() -> None:
    moments = itertools.chain(range(0, DAY, 5_000), range(0, 400 * DAY, 600_000))
    starts = {timelines._span(0, moment)[0] for moment in moments}  # noqa: SLF001
    assert len(starts) < 600
    assert all(timelines._span(0, start)[0] == start for start in starts)  # noqa: SLF001


def test_points_lead_up_to_the_counters_that_are_there() -> None:
    broadcast = Broadcast(**{**NONE, "sent": 500, "failed": 7})
    buckets = [Bucket(start, start + 10, {**NONE, "sent": 2}) for start in range(0, 2_000, 10)]
    points = timelines.points(broadcast, buckets, now=1_995, most=11)
    assert len(points) == 11
    assert (points[0]["at"], points[0]["sent"]) == (0, 100)
    assert points[-1] == {"at": 1_995, **NONE, "sent": 500, "failed": 7}
    assert [each["sent"] for each in points[1:]] == list(range(140, 501, 40))
    assert timelines.points(broadcast, [], now=0) == []
