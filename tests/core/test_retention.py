"""Forgetting: only what is closed and old, and nothing that comes back in between."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from service import ids
from service.core import retention, sent_parts
from service.core.retention import PartKey
from service.core.sent_parts import PartSent
from service.database import now_ms
from service.models import BroadcastStatus
from tests.conftest import on_postgres
from tests.world import World, numbers

DAY = 86_400_000


def close(world: World, broadcast_id: str, *, at: int) -> str:
    """Let a broadcast have been sent to everybody, and closed at a moment."""
    here = {"id": broadcast_id, "at": at}
    world.tell("UPDATE deliveries SET status = 'sent' WHERE broadcast_id = :id", id=broadcast_id)
    world.tell(
        "UPDATE broadcasts SET status = 'completed', sent = total, closed_at = :at WHERE id = :id",
        **here,
    )
    return broadcast_id


def hide(world: World, before: int, limit: int = 100) -> list[str]:
    with world.database.writing() as db:
        return retention.hide(db, before=before, after="", limit=limit, now=now_ms())


def forget(world: World, ids: list[str], before: int, limit: int = 100) -> tuple[int, int]:
    with world.database.writing() as db:
        return retention.forget(db, ids, before=before, limit=limit)


@pytest.fixture
def closed(world: World) -> str:
    """Return a broadcast of five that was closed just now."""
    world.session()
    return close(world, world.ready(numbers(5)), at=now_ms())


def test_deliveries_go_in_pieces_and_their_broadcast_at_the_end(world: World, closed: str) -> None:
    before = now_ms() + DAY
    assert hide(world, before) == [closed]
    steps = [forget(world, [closed], before, limit=2) for _ in range(4)]
    assert steps == [(2, 0), (2, 0), (1, 1), (0, 0)]
    assert world.ask("SELECT id FROM broadcasts") == []


def test_what_is_younger_is_neither_hidden_nor_forgotten(world: World, closed: str) -> None:
    before = now_ms() - DAY
    assert hide(world, before) == []
    assert forget(world, [closed], before) == (0, 0)
    assert world.get(closed).deleted_at is None


def test_what_is_not_hidden_is_not_forgotten(world: World, closed: str) -> None:
    assert forget(world, [closed], now_ms() + DAY) == (0, 0)
    assert len(world.deliveries(closed)) == 5


@pytest.mark.parametrize("status", list(BroadcastStatus))
def test_nothing_open_is_forgotten_whatever_its_state(world: World, status: str) -> None:
    world.session()
    broadcast_id = world.ready(numbers(3))
    world.tell("UPDATE broadcasts SET status = :status, deleted_at = 1", status=status)
    before = now_ms() + DAY
    assert hide(world, before) == []
    assert forget(world, [broadcast_id], before) == (0, 0)
    with world.database.reading() as db:
        assert retention.extent(db, before=before).broadcasts == 0


def test_what_a_receipt_has_opened_again_stays_as_it_is(world: World, closed: str) -> None:
    before = now_ms() + DAY
    hide(world, before)
    assert forget(world, [closed], before, limit=2) == (2, 0)
    world.tell("UPDATE broadcasts SET closed_at = NULL, status = 'sending'")
    assert forget(world, [closed], before) == (0, 0)
    assert len(world.deliveries(closed)) == 3


# SQLite has one writer at a time.
@on_postgres
def test_a_delivery_that_a_receipt_holds_is_left_for_the_next_time(
    world: World, closed: str
) -> None:
    before = now_ms() + DAY
    hide(world, before)
    held = world.deliveries(closed)[2].id
    with world.database.writing() as db:
        db.execute(text("SELECT 1 FROM deliveries WHERE id = :id FOR UPDATE"), {"id": held})
        assert forget(world, [closed], before) == (4, 0)
    assert forget(world, [closed], before) == (1, 1)


def test_hiding_goes_from_one_to_the_next(world: World) -> None:
    world.session()
    ids = [close(world, world.ready(numbers(1)), at=now_ms()) for _ in range(5)]
    before, found, last = now_ms() + DAY, [], ""
    while True:
        with world.database.writing() as db:
            some = retention.hide(db, before=before, after=last, limit=2, now=now_ms())
        if not some:
            break
        found.append(some)
        last = some[-1]
    assert found == [ids[:2], ids[2:4], ids[4:]]


def test_the_client_sees_nothing_of_what_is_being_forgotten(world: World, closed: str) -> None:
    version = world.get(closed).version
    hide(world, now_ms() + DAY)
    hide(world, now_ms() + DAY)
    assert world.get(closed).deleted_at is not None
    assert world.get(closed).version == version + 1


def test_the_extent_is_what_would_go(world: World, closed: str) -> None:
    close(world, world.ready(numbers(3)), at=now_ms() + 2 * DAY)
    with world.database.reading() as db:
        extent = retention.extent(db, before=now_ms() + DAY)
    assert extent == (1, len(world.deliveries(closed)), 0, 0, 0)


def test_the_ids_of_parts_go_with_their_deliveries_and_not_before(
    world: World, closed: str
) -> None:
    session_id = world.get(closed).session_id or ""
    kept = world.ready(numbers(2))
    parts = [
        PartSent(session_id, f"m-{delivery.id}", delivery.id, 0)
        for delivery in [*world.deliveries(closed), *world.deliveries(kept)]
    ]
    with world.database.writing() as db:
        sent_parts.remember(db, parts)
    before = now_ms() + DAY
    forget_parts(world)
    assert remembered(world) == [each.delivery_id for each in parts]
    hide(world, before)
    forget(world, [closed], before)
    forget_parts(world)
    assert remembered(world) == [each.id for each in world.deliveries(kept)]


@pytest.mark.parametrize(
    ("status", "age", "is_kept"),
    [
        ("read", 8 * DAY, False),
        ("read", 6 * DAY, True),
        ("cancelled", 8 * DAY, False),
        ("sent", 80 * DAY, True),
        ("delivered", 80 * DAY, True),
        ("failed", 80 * DAY, True),
        ("uncertain", 80 * DAY, True),
    ],
)
def test_the_ids_of_what_a_receipt_may_still_move_stay(
    world: World,
    closed: str,
    status: str,
    age: int,
    is_kept: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    session_id = world.get(closed).session_id or ""
    delivery = world.deliveries(closed)[0]
    with world.database.writing() as db:
        sent_parts.remember(db, [PartSent(session_id, "m", delivery.id, 0)])
    moved = "UPDATE deliveries SET status = :status, updated_at = :at WHERE id = :id"
    world.tell(moved, status=status, at=now_ms() - age, id=delivery.id)
    forget_parts(world)
    assert remembered(world) == [delivery.id] * is_kept


def test_the_ids_of_parts_are_walked_through_in_small_steps(world: World, closed: str) -> None:
    sessions = sorted([world.get(closed).session_id or "", world.session()])
    keys = [
        PartKey(session_id, f"m-{number}")
        for session_id, count in zip(sessions, (4, 1), strict=True)
        for number in range(count)
    ]
    gone = ids.delivery(ids.new_broadcast(), 0)
    with world.database.writing() as db:
        sent_parts.remember(db, [PartSent(*key, gone, 0) for key in keys])
    assert forget_parts(world) == [keys[1], keys[3], keys[4], None]
    assert remembered(world) == []


def forget_parts(world: World) -> list[PartKey | None]:
    """Walk through all parts, two at a time; return the steps."""
    steps: list[PartKey | None] = [PartKey()]
    while (last := steps[-1]) is not None:
        with world.database.writing() as db:
            steps.append(retention.forget_parts(db, after=last, limit=2, now=now_ms()))
    return steps[1:]


def remembered(world: World) -> list[str]:
    rows = world.ask("SELECT delivery_id FROM sent_parts ORDER BY delivery_id")
    return [row.delivery_id for row in rows]
