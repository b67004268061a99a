"""Events: facts that a change overwrites in a delivery's row, kept in the same transaction.

The row has the last attempt, the last reason, and when it was sent, delivered and read. So a
delivery that succeeds at once has no event, and one that fails at once has none either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import TextClause, delete, select, text
from sqlalchemy.orm import Session as Db

from service import ids
from service.database import is_postgres
from service.models import DeliveryEvent, EventKind

MOST: Final = 50
"""Events of one delivery; what happens to it later is not kept."""


class Event(NamedTuple):
    """An event of a delivery; see `DeliveryEvent`. `claimed_at` is that of the claim it ends."""

    delivery_id: str
    at: int
    kind: EventKind
    part: int = 0
    code: str | None = None
    reason: str | None = None
    other_at: int | None = None
    claimed_at: int = 0


_COLUMNS = "delivery_id, at, kind, part, code, reason, other_at"
_BOUND = """(
    SELECT count(*) FROM delivery_events AS kept WHERE kept.delivery_id = {delivery_id}) < :most"""
_KEEP = f"""
    INSERT INTO delivery_events ({_COLUMNS})
    SELECT {_COLUMNS} FROM {{events}} WHERE {_BOUND.format(delivery_id="e.delivery_id")} {{guard}}
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - the names are ours
_IS_CLAIMED = """AND EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.id = e.delivery_id AND d.status = 'sending'
        AND d.claim_id = :claim_id AND e.claimed_at IN (0, d.updated_at))"""
_FROM_POSTGRES = """json_to_recordset(CAST(:events AS json)) AS e(
    delivery_id text, at bigint, kind text, part int, code text, reason text, other_at bigint,
    claimed_at bigint)"""
_FROM_SQLITE = f"""(SELECT {
    ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in Event._fields)
} FROM json_each(:events)) AS e"""  # noqa: S608 - the names are ours


def _pair(guard: str) -> tuple[TextClause, TextClause]:
    """Return a statement in two forms, for SQLite and for Postgres."""
    sqlite, postgres = (
        text(_KEEP.format(events=source, guard=guard)) for source in (_FROM_SQLITE, _FROM_POSTGRES)
    )
    return sqlite, postgres


_ANY = _pair("")
_CLAIMED = _pair(_IS_CLAIMED)


def keep(db: Db, events: Sequence[Event], *, claim_id: str | None = None) -> None:
    """Keep events; with `claim_id` only those of deliveries that this claim holds."""
    if events:
        statement = (_ANY if claim_id is None else _CLAIMED)[is_postgres(db)]
        rows = json.dumps([event._asdict() for event in events])
        db.execute(statement, {"events": rows, "claim_id": claim_id, "most": MOST})


def keeping(kind: EventKind, where: str, why: str = "code, reason") -> TextClause:
    """Return a statement that keeps an event of `:now` for each delivery in a state.

    `where` is a condition on `deliveries`; `why` is the source of their code and reason.
    """
    return text(f"""
        INSERT INTO delivery_events ({_COLUMNS})
        SELECT id, :now, '{kind}', 0, {why}, updated_at FROM deliveries
        WHERE {where} AND {_BOUND.format(delivery_id="deliveries.id")}
        ON CONFLICT DO NOTHING
    """)  # noqa: S608 - the condition is ours


def read(db: Db, delivery_id: str) -> Sequence[DeliveryEvent]:
    """Return the events of a delivery, oldest first."""
    mine = select(DeliveryEvent).where(DeliveryEvent.delivery_id == delivery_id)
    return db.scalars(mine.order_by(DeliveryEvent.at, DeliveryEvent.part)).all()


def forget(db: Db, broadcast_id: str) -> None:
    """Delete the events of all deliveries of a broadcast, whose ids are one range."""
    first, last = ids.delivery(broadcast_id, 0), ids.delivery(broadcast_id, ids.MOST_DELIVERIES - 1)
    mine = delete(DeliveryEvent).where(DeliveryEvent.delivery_id.between(first, last))
    db.execute(mine.execution_options(synchronize_session=False))
