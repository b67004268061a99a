"""Exports: the deliveries of a broadcast, page by page, in the order of `to`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select
from sqlalchemy.orm import Session as Db

from service.core import reports, ways
from service.core.deliveries import verdicts
from service.core.reports import Filter
from service.models import Broadcast, Delivery, DeliveryStatus

PAGE: Final = 1_000
"""Deliveries of a page: some 150 KB, and a look of a few milliseconds."""

_COLUMNS: Final = (
    Delivery.id,
    Delivery.recipient,
    Delivery.status,
    Delivery.attempts,
    Delivery.code,
    Delivery.reason,
    Delivery.message_ids,
    Delivery.sent_at,
    Delivery.delivered_at,
    Delivery.read_at,
    Delivery.updated_at,
    Delivery.variables,
)


class LastWay(NamedTuple):
    """The way that gave a delivery its status; `step` 0 is the broadcast's session."""

    step: int
    session_id: str | None


class ExportedDelivery(NamedTuple):
    """A delivery as a row, with the way that determined its status."""

    row: Row[Any]
    way: LastWay


def page(
    db: Db, after: ExportedDelivery | None, *, broadcast: Broadcast, wanted: Filter
) -> list[ExportedDelivery]:
    """Return the deliveries `after` one, None: from the first.

    Only the last page is below `PAGE`. Each page is a separate query, so that a slow reader keeps
    no transaction open.
    """
    found = reports.filtered(select(*_COLUMNS), broadcast, wanted)
    if after is not None:
        found = found.where(Delivery.id > after.row.id)
    rows = db.execute(found.order_by(Delivery.id).limit(PAGE)).all()
    taken = ways.rows(db, broadcast, [row.id for row in rows], Delivery.status)
    return [ExportedDelivery(row, _last(broadcast, taken[row.id])) for row in rows]


def _last(broadcast: Broadcast, taken: Sequence[tuple[Broadcast, DeliveryStatus]]) -> LastWay:
    """Return the way that has reached the recipient, else the last one."""
    if not taken:
        return LastWay(0, broadcast.session_id)
    # Of ways with the same rank, `max` returns the first.
    way, _ = max(reversed(taken), key=lambda row: verdicts.RANKS.get(row[1], 0))
    return LastWay(way.step or 0, way.session_id)
