"""Reasons: why deliveries of a broadcast failed or are uncertain, grouped by code."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session as Db

from service.models import Broadcast, Delivery

MOST: Final = 50
"""Groups that are shown, the largest first."""

EXAMPLES: Final = 3

# As the index has it, word for word: neither database would use that for values it does not know.
REFUSED: Final = text("deliveries.status IN ('failed', 'uncertain')")


class Group(NamedTuple):
    """The deliveries that ended for one reason.

    `examples` are the first recipients, in the order of `to`. `number` counts them, and `reason` is
    the reason of the first.
    """

    status: str
    code: str | None
    number: int
    reason: str | None
    examples: list[str]


def grouped(db: Db, broadcast: Broadcast) -> list[Group]:
    """Return the largest groups.

    The cost depends on the number of failed deliveries, not of sent ones.
    """
    if not broadcast.failed + broadcast.uncertain:
        return []
    count = func.count().label("count")
    groups = (
        select(Delivery.status, Delivery.code, count)
        .where(Delivery.broadcast_id == broadcast.id, REFUSED)
        .group_by(Delivery.status, Delivery.code)
        .order_by(count.desc(), Delivery.status, Delivery.code)
        .limit(MOST)
    )
    found = db.execute(groups).all()
    return [_group(db, broadcast.id, status, code, number) for status, code, number in found]


def _group(db: Db, broadcast_id: str, status: str, code: str | None, count: int) -> Group:
    first_ones = (
        select(Delivery.recipient, Delivery.reason)
        .where(Delivery.broadcast_id == broadcast_id, Delivery.status == status)
        .where(REFUSED, Delivery.code.is_not_distinct_from(code))
        .order_by(Delivery.id)
        .limit(EXAMPLES)
    )
    rows = db.execute(first_ones).all()
    reason = rows[0].reason if rows else None
    return Group(status, code, count, reason, [row.recipient for row in rows])
