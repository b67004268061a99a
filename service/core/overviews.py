"""Overviews: running broadcasts and today's totals, read only from the rows of broadcasts.

A row has the broadcast's counters, and its id has the creation time, so no delivery is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Select, Text, cast, func, or_, select
from sqlalchemy.orm import Session as Db

from service.core.broadcasts import is_shown
from service.core.paging import Page, PageRequest, fetch
from service.models import COUNTED, Broadcast, BroadcastStatus, TimelineBucket

_MINUTE = 60_000
_MINUTES = 60
_MOST_BROADCASTS = 100
_ID_UNIT = 65_536
"""Parts of a second in which an id tells its time."""


def running(db: Db, client_id: str, limit: int) -> Sequence[Broadcast]:
    """Return a client's newest broadcasts with remaining recipients, without scheduled ones."""
    open_ = _mine(client_id).where(
        Broadcast.closed_at.is_(None), Broadcast.status != BroadcastStatus.SCHEDULED
    )
    return db.scalars(open_.order_by(Broadcast.id.desc()).limit(limit)).all()


def newest(db: Db, client_id: str, limit: int) -> Sequence[Broadcast]:
    """Return a client's newest broadcasts."""
    return db.scalars(_mine(client_id).order_by(Broadcast.id.desc()).limit(limit)).all()


def since(db: Db, client_id: str, moment: int) -> dict[str, int]:
    """Return the totals of the broadcasts created since a time in Unix milliseconds.

    `broadcasts` is their number, `total` the number of their recipients.
    """
    first = f"{moment * _ID_UNIT // 1000:012x}".ljust(24, "0")
    names = ("total", *COUNTED)
    sums = [func.coalesce(func.sum(getattr(Broadcast, name)), 0).label(name) for name in names]
    wanted = select(func.count().label("broadcasts"), *sums).where(
        Broadcast.client_id == client_id, Broadcast.id >= first, is_shown(deleted=False)
    )
    return {name: int(value) for name, value in db.execute(wanted).mappings().one().items()}


def minutes(db: Db, client_id: str, *, now: int) -> list[tuple[int, int]]:
    """Return how many messages ended in each minute of the last hour, with the minute's start.

    They are read from the buckets of the newest broadcasts that were open in that hour.
    """
    first = now - now % _MINUTE - (_MINUTES - 1) * _MINUTE
    was_open = or_(Broadcast.closed_at.is_(None), Broadcast.closed_at >= first)
    recent = _mine(client_id).where(was_open).order_by(Broadcast.id.desc()).limit(_MOST_BROADCASTS)
    wanted = select(TimelineBucket).where(
        TimelineBucket.broadcast_id.in_(select(recent.subquery().c.id)),
        TimelineBucket.start >= first,
    )
    counted: Counter[int] = Counter()
    for bucket in db.scalars(wanted):
        ended = max(0, bucket.sent + bucket.delivered + bucket.read) + max(0, bucket.failed)
        counted[bucket.start - bucket.start % _MINUTE] += ended
    return [(at, counted[at]) for at in range(first, now + 1, _MINUTE)]


def search(  # noqa: PLR0913 - three of them say whose broadcasts and which page, three what of them
    db: Db,
    client_id: str,
    words: str,
    statuses: Sequence[str],
    request: PageRequest,
    *,
    deleted: bool = False,
) -> Page[Broadcast]:
    """Return one page of the broadcasts in one of these states whose message has these words.

    Empty words or no states do not limit the search. With `deleted`, only deleted ones are found.
    """
    wanted = _mine(client_id, deleted=deleted)
    if statuses:
        wanted = wanted.where(Broadcast.status.in_(statuses))
    if words:
        written = json.dumps(words)[1:-1]
        wanted = wanted.where(cast(Broadcast.message, Text).icontains(written, autoescape=True))
    return fetch(db, wanted, Broadcast.id, request)


def _mine(client_id: str, *, deleted: bool = False) -> Select[Broadcast]:
    return select(Broadcast).where(Broadcast.client_id == client_id, is_shown(deleted=deleted))
