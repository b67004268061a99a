"""Exports: the deliveries of a broadcast, page by page, in the order of `to`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import reports, ways
from service.core.deliveries import verdicts
from service.core.reports import Filter
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


class LastWay(NamedTuple):
    """The way by which a delivery stands where it stands; `step` 0 is the broadcast's session."""

    step: int
    session_id: str | None


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
    taken = _last_ways(db, broadcast, [row.id for row in rows])
    return [ExportedDelivery(row, taken[row.id]) for row in rows]


def _last_ways(db: Db, broadcast: Broadcast, delivery_ids: Sequence[str]) -> dict[str, LastWay]:
    """Return the way by which each of some deliveries stands where it stands, by delivery.

    It is the one that has reached the recipient, else the last one.
    """
    found = dict.fromkeys(delivery_ids, (0, 0, broadcast.session_id))
    by_id = {way.id: way for way in ways.of(db, broadcast)}
    wholes = {ids.moved(each, way_id): each for way_id in by_id for each in delivery_ids}
    wanted = select(Delivery.id, Delivery.broadcast_id, Delivery.status)
    for row in db.execute(wanted.where(Delivery.id.in_(wholes))) if wholes else ():
        way, whole = by_id[row.broadcast_id], wholes[row.id]
        standing = (verdicts.RANKS.get(row.status, 0), way.step or 0, way.session_id)
        found[whole] = max(found[whole], standing, key=_rank)
    return {each: LastWay(step, session_id) for each, (_, step, session_id) in found.items()}


def _rank(standing: tuple[int, int, str | None]) -> tuple[int, int]:
    return standing[:2]
