"""The backlog: what waits, at a price that does not grow with what is done."""

from __future__ import annotations

from sqlalchemy import text

from service.core import backlog
from service.database import Database, now_ms
from service.models import FOREVER
from tests.conftest import on_sqlite
from tests.world import World, numbers


def test_what_is_final_is_no_backlog_and_what_is_being_sent_is(world: World) -> None:
    world.session()
    first, second = world.ready(numbers(5)), world.ready(numbers(3))
    world.tell("UPDATE broadcasts SET sent = 2, failed = 1 WHERE id = :id", id=first)
    world.tell("UPDATE broadcasts SET status = 'cancelled' WHERE id = :id", id=second)
    with world.database.reading() as db:
        depths = sorted(backlog.depths(db))
    assert depths == [("sandbox", "cancelled", 3), ("sandbox", "sending", 2)]


def test_the_oldest_is_told_apart_by_what_its_session_can_do(world: World) -> None:
    ready, blocked = world.session(), world.session()
    now = now_ms()
    for session_id, age in ((ready, 1_000), (ready, 3_000), (blocked, 9_000)):
        world.ready(numbers(2), session_id=session_id, now=now - age)
    held = {"until": FOREVER, "id": blocked}
    world.tell("UPDATE sessions SET held_until = :until WHERE id = :id", **held)
    with world.database.reading() as db:
        found = {each.session: each.due_at for each in backlog.oldest(db, now=now)}
    assert found == {"ready": now - 3_000, "blocked": now - 9_000}


def test_what_waits_for_its_window_is_not_old(world: World) -> None:
    world.session()
    now = now_ms()
    closed = world.ready(numbers(2), now=now)
    world.tell("UPDATE broadcasts SET closes_at = :now WHERE id = :id", now=now, id=closed)
    with world.database.reading() as db:
        assert backlog.oldest(db, now=now) == []


def test_what_is_due_later_is_not_old(world: World) -> None:
    world.session()
    now = now_ms()
    world.ready(numbers(2), now=now)
    with world.database.reading() as db:
        assert [each.due_at for each in backlog.oldest(db, now=now - 1)] == [None]


# Only the plan of SQLite does not depend on what the tables hold.
@on_sqlite
def test_the_queue_is_counted_without_a_look_at_what_is_finished(database: Database) -> None:
    steps: list[str] = []
    with database.reading() as db:
        for statement in (backlog._DEPTHS, backlog._OLDEST):  # noqa: SLF001
            plan = db.execute(text(f"EXPLAIN QUERY PLAN {statement.text}"), {"now": 0})
            steps += [row.detail for row in plan]
    assert [step for step in steps if " b USING INDEX ix_broadcasts_open" in step]
    assert all("SCAN d" not in step for step in steps)
    assert [step for step in steps if "ix_deliveries_queued" in step]
