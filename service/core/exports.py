"""Exports: the deliveries of a broadcast, page by page, in the order of `to`."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select
from sqlalchemy.orm import Session as Db

from service.core import reports, ways
from service.core.reports import Filter
from service.core.ways import LastWay
from service.models import Broadcast, Delivery

PAGE: Final = 1_000
"""Deliveries of a page: some 150 KB, and a look of a few milliseconds."""

FIRST: Final = ""
"""Where an export begins."""

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


class ExportedDelivery(NamedTuple):
    """A delivery as a row, and the way by which it stands where it stands."""

    row: Row[Any]
    way: LastWay


def page(db: Db, broadcast: Broadcast, wanted: Filter, after: str) -> list[ExportedDelivery]:
    """Return the deliveries that come `after` an id; the last page is shorter than `PAGE`.

    Each page is a look of its own, so that a slow reader keeps no transaction open.
    """
    found = reports.filtered(select(*_COLUMNS), broadcast, wanted)
    ordered = found.where(Delivery.id > after).order_by(Delivery.id).limit(PAGE)
    rows = db.execute(ordered).all()
    taken = ways.last(db, broadcast, [row.id for row in rows])
    return [ExportedDelivery(row, taken[row.id]) for row in rows]
