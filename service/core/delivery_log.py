"""The delivery log: what was sent to whom, across all broadcasts of a client.

A delivery's id contains its broadcast and its position, and a broadcast's row has the number of its
deliveries. So a page is found by adding up these numbers, and its rows by their ids. This needs no
extra index and no scan of deliveries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import identities
from service.core.broadcasts import is_shown
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
"""How many deliveries a broadcast has, as far as the fan-out has created them."""


_FARTHEST: Final = 2**31
"""Beyond this a page is compared with their number first: a database has its largest integer."""


class Entry(NamedTuple):
    """A delivery and its broadcast."""

    delivery: Delivery
    broadcast: Broadcast


class DeliveryScope(NamedTuple):
    """Selects deliveries of a client or of one session, of `deleted` broadcasts or of others."""

    client_id: str
    within: str | None = None
    deleted: bool = False


def page(db: Db, scope: DeliveryScope, request: PageRequest) -> Page[Entry]:
    """Return one page of deliveries."""
    total = int(db.scalar(_mine(func.coalesce(func.sum(_SIZE), 0), scope)))
    request.check(total)
    wanted = list(_places(db, scope, request))
    return Page(_entries(db, wanted, request), total, request)


def to_recipients(
    db: Db, scope: DeliveryScope, recipients: Sequence[str], request: PageRequest
) -> Page[Entry]:
    """Return one page of the deliveries to some recipients, under all addresses that are known.

    The client is looked up for each delivery that the index of recipients finds. With a join, a
    database may start from the client instead and search each of its broadcasts. Deliveries are
    counted only if the page is full or beyond the last one.
    """
    whose = _mine(Broadcast.client_id, scope).where(Broadcast.id == Delivery.broadcast_id)
    is_mine = whose.correlate(Delivery).scalar_subquery() == scope.client_id
    addresses = identities.forms(db, scope.client_id, recipients)
    found: Any = select(Delivery.id).where(Delivery.recipient.in_(addresses), is_mine)
    if request.offset > _FARTHEST:
        request.check(count(db, found))
    ordered = found.order_by(request.order(Delivery.id))
    wanted = ordered.limit(request.page_size).offset(request.offset).subquery()
    entries = _entries(db, select(wanted.c.id), request)
    is_last = len(entries) < request.page_size and (entries or not request.offset)
    total = request.offset + len(entries) if is_last else count(db, found)
    request.check(total)
    return Page(entries, total, request)


def get(db: Db, scope: DeliveryScope, delivery_id: str) -> Entry:
    """Return one delivery; raises NotFoundError."""
    of_client = _mine(Delivery, scope).add_columns(Broadcast)
    wanted = of_client.where(Broadcast.id == Delivery.broadcast_id, Delivery.id == delivery_id)
    row = db.execute(wanted).one_or_none() if ids.is_id(delivery_id) else None
    if row is None:
        raise NotFoundError("delivery", delivery_id)
    return Entry(row.Delivery, row.Broadcast)


def _mine(what: Any, scope: DeliveryScope) -> Select[Any]:
    """Return a query for columns of the broadcasts in a scope."""
    of_client = Broadcast.client_id == scope.client_id
    wanted = select(what).where(of_client, is_shown(deleted=scope.deleted))
    return wanted if scope.within is None else wanted.where(Broadcast.session_id == scope.within)


def _places(db: Db, scope: DeliveryScope, request: PageRequest) -> Iterator[str]:
    """Yield the delivery ids of a page, in order."""
    start, end = request.offset, request.offset + request.page_size
    for broadcast_id, size, before in _shares(db, scope, request):
        for number in range(max(0, start - before), min(size, end - before)):
            yield ids.delivery(broadcast_id, size - 1 - number if request.descending else number)


def _shares(db: Db, scope: DeliveryScope, request: PageRequest) -> Iterator[tuple[str, int, int]]:
    """Yield the broadcasts with deliveries on a page, in order.

    Each comes with its size and the number of deliveries before it.
    """
    start, end = request.offset, request.offset + request.page_size
    sizes = _mine(Broadcast.id, scope).add_columns(_SIZE.label("size")).subquery()
    order = sizes.c.id.desc() if request.descending else sizes.c.id
    so_far = func.sum(sizes.c.size).over(order_by=order, rows=(None, 0))
    summed = select(sizes, (so_far - sizes.c.size).label("before")).subquery()
    share = select(summed).where(summed.c.before < end, summed.c.before + summed.c.size > start)
    order = summed.c.id.desc() if request.descending else summed.c.id
    for row in db.execute(share.order_by(order).limit(request.page_size)):
        yield row.id, int(row.size), int(row.before)


def _entries(db: Db, wanted: list[str] | Select[str], request: PageRequest) -> list[Entry]:
    """Return the deliveries of a page by their ids, or by the query for them."""
    of_broadcast = Broadcast.id == Delivery.broadcast_id
    found = select(Delivery, Broadcast).join(Broadcast, of_broadcast)
    rows = found.where(Delivery.id.in_(wanted)).order_by(request.order(Delivery.id))
    return [Entry(*row) for row in db.execute(rows)]
