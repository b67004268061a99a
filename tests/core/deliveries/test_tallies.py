"""The counters of a broadcast."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from sqlalchemy import text

from service import ids
from service.core.deliveries import tallies
from service.core.deliveries.tallies import Closed
from service.database import now_ms
from service.models import COUNTED, Broadcast, BroadcastStatus
from tests.conftest import on_postgres
from tests.world import ADA, World, numbers

_END_ONE = text("UPDATE deliveries SET status = 'sent', claim_id = NULL WHERE id = :id")


@pytest.fixture
def world(world: World) -> World:
    """Return a world in which a session is there to send with."""
    world.session()
    return world


def move(world: World, gains: dict[str, dict[str, int]], now: int | None = None) -> list[Closed]:
    with world.database.writing() as db:
        counted = {broadcast_id: Counter(gain) for broadcast_id, gain in gains.items()}
        return tallies.move(db, counted, now=now or now_ms())


def add(world: World, broadcast_id: str, now: int | None = None, **gain: int) -> list[Closed]:
    return move(world, {broadcast_id: gain}, now)


def counters(broadcast: Broadcast) -> dict[str, int]:
    return {name: getattr(broadcast, name) for name in COUNTED if getattr(broadcast, name)}


def test_gains_are_added_and_seen_as_a_change(world: World) -> None:
    broadcast_id = world.broadcast(numbers(10))
    now = now_ms() + 5
    assert add(world, broadcast_id, now, sent=3, failed=1) == []
    assert add(world, broadcast_id, now, sent=-1, delivered=1) == []
    broadcast = world.get(broadcast_id)
    assert counters(broadcast) == {"sent": 2, "delivered": 1, "failed": 1}
    assert (broadcast.version, broadcast.updated_at, broadcast.closed_at) == (2, now, None)


def test_a_broadcast_without_an_open_delivery_is_closed_once(world: World) -> None:
    broadcast_id = world.broadcast(numbers(3))
    add(world, broadcast_id, sent=2)
    now = now_ms() + 5
    assert add(world, broadcast_id, now, uncertain=1) == [
        Closed(broadcast_id, BroadcastStatus.COMPLETED, 3)
    ]
    assert add(world, broadcast_id, now + 5, sent=-1, delivered=1) == []
    assert world.get(broadcast_id).closed_at == now


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sending", "completed"),
        ("paused", "completed"),
        ("cancelled", "cancelled"),
        ("scheduled", "completed"),
    ],
)
def test_what_a_broadcast_is_when_it_closes_depends_on_what_it_was(
    world: World, before: str, after: str
) -> None:
    broadcast_id = world.broadcast([ADA])
    world.tell("UPDATE broadcasts SET status = :status", status=before)
    add(world, broadcast_id, failed=1)
    assert world.get(broadcast_id).status == after
    assert world.get(broadcast_id).closed_at is not None


def test_a_broadcast_with_something_open_again_goes_on(world: World) -> None:
    broadcast_id = world.broadcast(numbers(2))
    add(world, broadcast_id, sent=1, failed=1)
    add(world, broadcast_id, failed=-1)
    broadcast = world.get(broadcast_id)
    assert (broadcast.status, broadcast.closed_at) == ("sending", None)


def test_a_scheduled_broadcast_with_somebody_again_waits_for_its_time(world: World) -> None:
    now = now_ms()
    broadcast_id = world.broadcast([ADA], now=now, send_at=now + 1_000)
    for moment, status in ((now, "scheduled"), (now + 1_000, "sending")):
        add(world, broadcast_id, now, failed=1)
        assert world.get(broadcast_id).status == "completed"
        add(world, broadcast_id, moment, failed=-1)
        assert (world.get(broadcast_id).status, world.get(broadcast_id).closed_at) == (status, None)


def test_several_broadcasts_move_at_once(world: World) -> None:
    one, other = world.broadcast([ADA]), world.broadcast(numbers(2))
    closed = move(world, {one: {"sent": 1}, other: {"sent": 1}})
    assert [each.id for each in closed] == [one]
    assert counters(world.get(other)) == {"sent": 1}


def test_a_broadcast_that_is_gone_is_passed_over(world: World) -> None:
    assert add(world, ids.new_broadcast(), sent=1) == []


def test_threads_that_move_the_same_broadcasts_lose_nothing(world: World) -> None:
    made = [world.broadcast(numbers(500)) for _ in range(3)]

    def work(order: list[str]) -> None:
        for _ in range(20):
            move(world, {each: {"sent": 1} for each in order})

    threads = [
        threading.Thread(target=work, args=(made if number % 2 else made[::-1],))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [counters(world.get(each)) for each in made] == [{"sent": 80}] * 3


def recount(world: World, broadcast_id: str) -> list[Closed]:
    with world.database.writing() as db:
        return tallies.recount(db, broadcast_id, now=now_ms())


def test_a_recount_makes_the_counters_what_the_rows_say(world: World) -> None:
    broadcast_id = world.ready(numbers(4))
    first, second, third, _ = (row.id for row in world.deliveries(broadcast_id))
    for delivery_id, status in ((first, "sent"), (second, "failed"), (third, "sending")):
        world.tell(
            "UPDATE deliveries SET status = :status WHERE id = :id", status=status, id=delivery_id
        )
    world.tell("UPDATE broadcasts SET sent = 3, uncertain = 1, closed_at = 1, status = 'completed'")
    assert recount(world, broadcast_id) == []
    broadcast = world.get(broadcast_id)
    assert counters(broadcast) == {"sent": 1, "failed": 1}
    assert (broadcast.status, broadcast.closed_at) == ("sending", None)
    world.assert_counters_equal_rows([broadcast_id])


def test_a_recount_that_closes_a_broadcast_says_so(world: World) -> None:
    broadcast_id = world.ready(numbers(2))
    world.tell("UPDATE deliveries SET status = 'sent'")
    assert [each.id for each in recount(world, broadcast_id)] == [broadcast_id]
    assert world.get(broadcast_id).status == "completed"


@on_postgres
def test_a_recount_waits_for_results_that_are_just_being_written(world: World) -> None:
    """Else it would count the rows of a transaction whose counters come afterwards, twice."""
    broadcast_id = world.ready(numbers(2))
    began = threading.Event()

    def recount_meanwhile() -> None:
        began.set()
        recount(world, broadcast_id)

    thread = threading.Thread(target=recount_meanwhile)
    claims = world.claim(broadcast_id)
    with world.database.writing() as db:
        tallies.move(db, {broadcast_id: Counter(sent=1)}, now=now_ms())
        thread.start()
        began.wait(60)
        db.execute(_END_ONE, {"id": claims.deliveries[0].id})
    thread.join()
    world.assert_counters_equal_rows([broadcast_id])
