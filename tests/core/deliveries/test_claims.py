"""Claims: how the broadcasts are found that have something due."""

from __future__ import annotations

from sqlalchemy import text

from service.core.deliveries import claims
from service.database import now_ms
from tests.conftest import on_postgres
from tests.world import World, numbers


@on_postgres
def test_due_work_is_found_without_a_look_at_what_was_sent(world: World) -> None:
    """Of many that are due, Postgres expects to meet one soon, and would begin at the first row."""
    world.session()
    for _ in range(2):
        world.ready(numbers(500))
    look = f"EXPLAIN {claims._ACTIVE_POSTGRES.text}"  # noqa: SLF001 - a plan is of a statement
    values = {"now": now_ms(), "cursors": "{}", "turns": 32}
    with world.database.writing() as db:
        db.execute(text("ANALYZE deliveries"))
        plan = str(db.execute(text(look), values).all())
    assert "ix_deliveries_queued" in plan
    assert "Seq Scan on deliveries" not in plan
