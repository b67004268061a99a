"""Reports on a broadcast: counts, arrays of recipients, and pages of deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, CompoundSelect, Select, bindparam, func, select, union_all
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import openings, paging, recipient_lists, ways
from service.core.deliveries import gates
from service.core.reasons import REFUSED
from service.database import now_ms
from service.models import (
    COUNTED,
    Broadcast,
    BroadcastStatus,
    Delivery,
    DeliveryStatus,
    RecipientChunk,
    Session,
)

SHOWN = recipient_lists.SHOWN
"""The most recipients in `sent`, `pending` and `failed` of one broadcast, as in `to`."""

SHOWN_IN_LISTS = 100
"""The same in lists of broadcasts."""


class Filter(NamedTuple):
    """A filter of a broadcast's deliveries; None, or no recipients: all.

    `code` is the code of failed or uncertain deliveries; empty if they have none.
    """

    status: DeliveryStatus | None = None
    recipients: tuple[str, ...] = ()
    code: str | None = None


class ShownWay(NamedTuple):
    """A way and the results of the deliveries that it took over."""

    step: int
    session_id: str | None
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Arrays:
    """The first recipients of a broadcast by status, in the order of `to`.

    `held` says what the broadcast waits for: its session, or the opening of a window. `ways` are
    the ways after its session.
    """

    sent: list[str]
    pending: list[str]
    failed: list[str]
    held: str | None
    ways: list[ShownWay]


_ARRAYS = {
    "sent": (DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ),
    "pending": (
        DeliveryStatus.QUEUED,
        DeliveryStatus.SENDING,
        DeliveryStatus.HELD,
        DeliveryStatus.FALLBACK,
        DeliveryStatus.UNCERTAIN,
    ),
    "failed": (DeliveryStatus.FAILED, DeliveryStatus.CANCELLED),
}


def counts(broadcast: Broadcast) -> dict[str, int]:
    """Return the exact totals. `pending` counts all deliveries that are not final."""
    final = {
        "sent": broadcast.sent,
        "delivered": broadcast.delivered,
        "read": broadcast.read,
        "failed": broadcast.failed,
        "cancelled": broadcast.cancelled,
    }
    pending = broadcast.total - sum(final.values())
    return {"total": broadcast.total, "pending": pending, **final, "uncertain": broadcast.uncertain}


def arrays(
    db: Db, broadcasts: Sequence[Broadcast], limit: int = SHOWN_IN_LISTS
) -> dict[str, Arrays]:
    """Return the recipients of broadcasts by status, by id of the broadcast."""
    held = _held(db, broadcasts)
    return {
        broadcast.id: Arrays(
            **{name: _in_state(db, broadcast, name, limit) for name in _ARRAYS},
            held=held.get(broadcast.id),
            ways=shown_ways(db, broadcast),
        )
        for broadcast in broadcasts
    }


def arrays_of(db: Db, broadcast: Broadcast) -> Arrays:
    """Return the recipients of one broadcast by status."""
    return arrays(db, [broadcast], SHOWN)[broadcast.id]


def arrays_of_new(db: Db, broadcast: Broadcast) -> Arrays:
    """Return the recipients of a broadcast accepted in this transaction, which has no rows yet."""
    held = None
    if broadcast.status == BroadcastStatus.SENDING:
        held = _obstacle(db, broadcast, db.get(Session, broadcast.session_id), now_ms())
    return Arrays([], [], [], held, shown_ways(db, broadcast))


def shown_ways(db: Db, broadcast: Broadcast) -> list[ShownWay]:
    """Return the ways that follow the session of a broadcast."""
    following = ways.of(db, broadcast)[1:]
    return [ShownWay(each.step or 0, each.session_id, counts(each)) for each in following]


def held(db: Db, broadcast: Broadcast) -> str | None:
    """Return what a broadcast waits for: its session, or the opening of a window."""
    return _held(db, [broadcast]).get(broadcast.id)


def _held(db: Db, broadcasts: Sequence[Broadcast]) -> dict[str, str | None]:
    """Return what sending broadcasts wait for, by broadcast."""
    waiting = [each for each in broadcasts if each.status == BroadcastStatus.SENDING]
    wanted = {each.session_id for each in waiting}
    found = db.scalars(select(Session).where(Session.id.in_(wanted))) if waiting else ()
    sessions, now = {session.id: session for session in found}, now_ms()
    return {
        each.id: _obstacle(db, each, sessions.get(each.session_id or ""), now) for each in waiting
    }


def _obstacle(db: Db, broadcast: Broadcast, session: Session | None, now: int) -> str | None:
    if session is None:
        return openings.wait(broadcast, None, now)
    reason = session.reason or openings.wait(broadcast, session, now)
    wait = None if reason else gates.wait(db, broadcast, session, now=now)
    return str(wait) if wait else reason


def _first_in(statuses: Sequence[DeliveryStatus]) -> CompoundSelect[Any]:
    """Return the statement for the first deliveries in some statuses, made once: each POST runs it.

    It has a short index scan per status; for the range of ids see `_among`.
    """
    scans = (
        select(Delivery.id, Delivery.recipient)
        .where(Delivery.broadcast_id == bindparam("broadcast_id"), Delivery.status == status)
        .where(Delivery.id.between(bindparam("first"), bindparam("last")))
        .order_by(Delivery.id)
        .limit(bindparam("most"))
        .subquery()
        for status in statuses
    )
    return union_all(*map(select, scans))


_FIRST = {array: _first_in(statuses) for array, statuses in _ARRAYS.items()}


def _in_state(db: Db, broadcast: Broadcast, array: str, limit: int) -> list[str]:
    """Fetch the first recipients of an array, if its counters say that there are any."""
    tally = counts(broadcast)
    tally["failed"] += tally["cancelled"]
    if not (tally[array] or (array == "sent" and tally["delivered"] + tally["read"])):
        return []
    values = {
        "broadcast_id": broadcast.id,
        "first": ids.delivery(broadcast.id, 0),
        "last": ids.delivery(broadcast.id, ids.MOST_DELIVERIES - 1),
        "most": limit,
    }
    rows = sorted(map(tuple, db.execute(_FIRST[array], values).all()))
    return [recipient for _, recipient in rows[:limit]]


def page(
    db: Db, broadcast: Broadcast, wanted: Filter, request: paging.PageRequest
) -> paging.Page[Delivery]:
    """Return one page of a broadcast's deliveries, in the order of `to`.

    An unfiltered page is found by its ids, so the last page of a million is as fast as the first.
    """
    if wanted == Filter() and _is_fanned_out(db, broadcast.id):
        return _page_by_place(db, broadcast, request)
    found = filtered(select(Delivery), broadcast, wanted)
    is_counted = wanted == Filter(wanted.status)
    known = _known(db, broadcast, wanted.status) if is_counted else None
    return paging.fetch(db, found, Delivery.id, request, total=known)


def filtered(query: Any, broadcast: Broadcast, wanted: Filter) -> Select[Any]:
    """Restrict a query of deliveries to the filtered ones of a broadcast."""
    found: Select[Any] = query.where(_among(broadcast))
    if wanted == Filter():
        # Their ids are one range, in order: SQLite would rather sort all that an index finds.
        return found
    found = found.where(Delivery.broadcast_id == broadcast.id)
    if wanted.status is not None:
        found = found.where(Delivery.status == wanted.status)
    if wanted.recipients:
        found = found.where(Delivery.recipient.in_(wanted.recipients))
    if wanted.code is not None:
        found = found.where(REFUSED, Delivery.code.is_not_distinct_from(wanted.code or None))
    return found


def _among(broadcast: Broadcast) -> ColumnElement[bool]:
    """Return the condition that a delivery id belongs to a broadcast.

    It repeats the condition on `broadcast_id`, but lets Postgres start an id scan at the right
    place. Otherwise it would pass all earlier deliveries, which takes seconds.
    """
    last = ids.delivery(broadcast.id, ids.MOST_DELIVERIES - 1)
    return Delivery.id.between(ids.delivery(broadcast.id, 0), last)


def _known(db: Db, broadcast: Broadcast, status: DeliveryStatus | None) -> int | None:
    """Return the number of deliveries in a status, None if that needs a full count.

    Queued ones are all that no counter and no claim has; claimed ones are few.
    """
    if status is not None and status in COUNTED:
        return cast("int", getattr(broadcast, status))
    if status != DeliveryStatus.QUEUED or not _is_fanned_out(db, broadcast.id):
        return None
    claimed = select(func.count()).where(
        Delivery.broadcast_id == broadcast.id,
        Delivery.status.in_((DeliveryStatus.SENDING, DeliveryStatus.HELD, DeliveryStatus.FALLBACK)),
    )
    counted: int = sum(getattr(broadcast, each) for each in COUNTED)
    return broadcast.total - counted - (db.scalar(claimed) or 0)


def _page_by_place(
    db: Db, broadcast: Broadcast, request: paging.PageRequest
) -> paging.Page[Delivery]:
    request.check(broadcast.total)
    size = min(request.page_size, broadcast.total - request.offset)
    start = broadcast.total - request.offset - size if request.descending else request.offset
    first, last = ids.delivery(broadcast.id, start), ids.delivery(broadcast.id, start + size - 1)
    rows = select(Delivery).where(Delivery.id.between(first, last))
    ordered = db.scalars(rows.order_by(request.order(Delivery.id))).all()
    return paging.Page(ordered, broadcast.total, request)


def _is_fanned_out(db: Db, broadcast_id: str) -> bool:
    chunks = select(RecipientChunk.start).where(RecipientChunk.broadcast_id == broadcast_id)
    return db.execute(chunks.limit(1)).first() is None
