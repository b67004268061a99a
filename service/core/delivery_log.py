"""The delivery log: what was sent to whom, across all broadcasts of a client.

A delivery's id tells its broadcast and its place, and the deliveries of a broadcast are as many as
its row says: so a page is found by adding up broadcasts, and its rows by their ids. That takes no
index of its own and no scan of deliveries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.core.paging import Page, PageRequest, count
from service.errors import NotFoundError
from service.models import Broadcast, Delivery, RecipientChunk

_LEFT = (
    select(func.min(RecipientChunk.start))
    .where(RecipientChunk.broadcast_id == Broadcast.id)
    .scalar_subquery()
)
_SIZE: ColumnElement[int] = case(
    (Broadcast.closed_at.is_(None), func.coalesce(_LEFT, Broadcast.total)), else_=Broadcast.total
)
"""How many deliveries a broadcast has: all, or those that the fan-out has made so far."""


class Entry(NamedTuple):
    """A delivery and the broadcast that it is of."""

    delivery: Delivery
    broadcast: Broadcast


def page(db: Db, client_id: str, request: PageRequest, *, within: str | None = None) -> Page[Entry]:
    """Return one page of a client's deliveries, of all or only of one session's."""
    total = int(db.scalar(_mine(func.coalesce(func.sum(_SIZE), 0), client_id, within)))
    request.check(total)
    wanted = list(_places(db, client_id, within, request))
    return Page(_entries(db, wanted), total, request)


def to_recipient(
    db: Db, client_id: str, recipient: str, request: PageRequest, *, within: str | None = None
) -> Page[Entry]:
    """Return one page of what was sent to somebody, of all broadcasts or only of one session's."""
    # Compared as an expression, so that no index leads from the client to each of its broadcasts.
    is_mine = (Broadcast.client_id + "") == client_id
    of_all: Any = select(Delivery, Broadcast).where(Broadcast.id == Delivery.broadcast_id, is_mine)
    found = of_all.where(Delivery.recipient == recipient, Broadcast.deleted_at.is_(None))
    if within is not None:
        found = found.where((Broadcast.session_id + "") == within)
    total = count(db, found)
    request.check(total)
    ordered = found.order_by(request.order(Delivery.id))
    rows = db.execute(ordered.limit(request.page_size).offset(request.offset)).all()
    return Page([Entry(row.Delivery, row.Broadcast) for row in rows], total, request)


def get(db: Db, client_id: str, delivery_id: str, *, within: str | None = None) -> Entry:
    """Return one delivery of a client; raises NotFoundError."""
    of_client = _mine(Delivery, client_id, within).add_columns(Broadcast)
    wanted = of_client.where(Broadcast.id == Delivery.broadcast_id, Delivery.id == delivery_id)
    row = db.execute(wanted).one_or_none() if ids.is_id(delivery_id) else None
    if row is None:
        raise NotFoundError("delivery", delivery_id)
    return Entry(row.Delivery, row.Broadcast)


def _mine(what: Any, client_id: str, within: str | None) -> Select[Any]:
    """Return the query for something of the broadcasts that are a client's, or one session's."""
    wanted = select(what).where(Broadcast.client_id == client_id, Broadcast.deleted_at.is_(None))
    return wanted if within is None else wanted.where(Broadcast.session_id == within)


def _places(db: Db, client_id: str, within: str | None, request: PageRequest) -> Iterator[str]:
    """Yield the ids of the deliveries of a page, in its order."""
    start, end = request.offset, request.offset + request.page_size
    for broadcast_id, size, before in _shares(db, client_id, within, request):
        for number in range(max(0, start - before), min(size, end - before)):
            yield ids.delivery(broadcast_id, size - 1 - number if request.descending else number)


def _shares(
    db: Db, client_id: str, within: str | None, request: PageRequest
) -> Iterator[tuple[str, int, int]]:
    """Yield the broadcasts that have deliveries on a page, in its order.

    Each with its size, and how many deliveries there are before its own.
    """
    start, end = request.offset, request.offset + request.page_size
    sizes = _mine(Broadcast.id, client_id, within).add_columns(_SIZE.label("size")).subquery()
    order = sizes.c.id.desc() if request.descending else sizes.c.id
    so_far = func.sum(sizes.c.size).over(order_by=order, rows=(None, 0))
    summed = select(sizes, (so_far - sizes.c.size).label("before")).subquery()
    share = select(summed).where(summed.c.before < end, summed.c.before + summed.c.size > start)
    order = summed.c.id.desc() if request.descending else summed.c.id
    for row in db.execute(share.order_by(order).limit(request.page_size)):
        yield row.id, int(row.size), int(row.before)


def _entries(db: Db, delivery_ids: list[str]) -> list[Entry]:
    """Return deliveries in the order of these ids; one that was deleted meanwhile is left out."""
    of_broadcast = Broadcast.id == Delivery.broadcast_id
    found = select(Delivery, Broadcast).join(Broadcast, of_broadcast)
    rows = db.execute(found.where(Delivery.id.in_(delivery_ids))).all()
    entries = {row.Delivery.id: Entry(row.Delivery, row.Broadcast) for row in rows}
    return [entries[each] for each in delivery_ids if each in entries]
