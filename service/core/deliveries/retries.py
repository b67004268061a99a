"""Retries: failed or uncertain deliveries are sent again, or go on by one more way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import ways
from service.core.deliveries import events, opted_out, tallies
from service.core.deliveries.obstacles import UNREACHABLE
from service.core.deliveries.progress import VOID
from service.database import is_postgres, rowcount
from service.models import Broadcast, DeliveryStatus, EventKind

_RETRIED = """
    broadcast_id = :broadcast_id AND status = :status AND COALESCE(code, '') <> 'invalid'
    {{of_codes}} {{of_ways}} AND NOT EXISTS (
        SELECT 1 FROM opt_outs WHERE opt_outs.recipient = deliveries.recipient
            AND session_id = (SELECT session_id FROM broadcasts WHERE id = {by}))
    AND NOT EXISTS (
        SELECT 1 FROM client_opt_outs WHERE client_opt_outs.recipient = deliveries.recipient
            AND client_id = (SELECT client_id FROM broadcasts WHERE id = {by}))
"""
_KNOWN_TO_REACH: Final = f"COALESCE(code, '') <> '{UNREACHABLE}'"
_REQUEUED = f"{_RETRIED.format(by=':broadcast_id')} AND {_KNOWN_TO_REACH}"
_REQUEUE = """
    UPDATE deliveries SET
        status = 'queued', attempts = 0, due_at = :now, updated_at = :now, progress = NULL,
        message_ids = CASE WHEN progress LIKE '%f%' THEN ({marked})
                           WHEN status = 'uncertain'
                                THEN trim(COALESCE(message_ids, '') || ' ' || :void)
                           ELSE message_ids END
    WHERE {requeued}
"""
_MARKED_POSTGRES = """
    SELECT string_agg(
        CASE substr(progress, CAST(place AS int), 1) WHEN 'f' THEN :void || word ELSE word END,
        ' ' ORDER BY place)
    FROM unnest(string_to_array(message_ids, ' ')) WITH ORDINALITY AS m(word, place)"""
_MARKED_SQLITE = """
    SELECT group_concat(
        CASE substr(progress, place, 1) WHEN 'f' THEN :void || word ELSE word END, ' ')
    FROM (SELECT value AS word, key + 1 AS place FROM json_each(
          '[' || replace(json_quote(message_ids), ' ', '","') || ']') ORDER BY key)"""


class _Requeue(NamedTuple):
    """The two statements of a retry, in this order."""

    remember: TextClause
    move: TextClause

    @classmethod
    def of(cls, *, is_postgres: bool, of_codes: str = "", of_ways: str = "") -> _Requeue:
        where = _REQUEUED.format(of_codes=of_codes, of_ways=of_ways)
        marked = _MARKED_POSTGRES if is_postgres else _MARKED_SQLITE
        move = text(_REQUEUE.format(marked=marked, requeued=where))
        return cls(events.keeping(EventKind.RETRIED, where), move)


# A delivery without a code has the empty one here.
_OF_CODES: Final = {
    True: "AND COALESCE(code, '') = ANY(CAST(:codes AS text[]))",
    False: "AND COALESCE(code, '') IN (SELECT value FROM json_each(:codes))",
}
_ROW_OF_WAY: Final = """broadcasts AS way JOIN deliveries AS row
    ON row.id = substr(way.id, 1, 18) || substr(deliveries.id, 19)"""
"""The rows of a delivery in its ways."""

_OF_LAST: Final = f"""AND NOT EXISTS (
    SELECT 1 FROM {_ROW_OF_WAY} WHERE way.parent_id = :parent_id AND way.step > :step)"""  # noqa: S608 - the tables are ours
_REQUEUES: Final = {
    (has_codes, has_ways, on_postgres): _Requeue.of(
        is_postgres=on_postgres,
        of_codes=_OF_CODES[on_postgres] if has_codes else "",
        of_ways=_OF_LAST if has_ways else "",
    )
    for has_codes in (False, True)
    for has_ways in (False, True)
    for on_postgres in (False, True)
}


def requeue(
    db: Db, broadcast: Broadcast, status: DeliveryStatus, *, codes: Sequence[str] = (), now: int
) -> int:
    """Queue failed or uncertain deliveries again with new attempts; return how many.

    `codes`, if any, limits this to deliveries with one of them; the empty code means none.
    Deliveries to people who opted out or whom the channel does not reach, and to invalid entries,
    stay failed. A delivery that has taken several ways is sent again by the last one.

    Parts that the provider accepted are not sent again, unless they failed later: their ids are
    marked, so that a repeated receipt does not count for the new attempt. Uncertain parts are
    marked too, so that they do not count as failed if the new attempts fail.
    """
    opted_out.queueing(db)
    counts = {broadcast.id: _requeue(db, broadcast, status, codes, now)}
    for way in ways.of(db, broadcast)[1:]:
        counts[way.id] = _requeue(db, way, status, codes, now)
    total = sum(counts.values())
    if total > counts[broadcast.id]:
        counts[broadcast.id] += _await(db, broadcast.id, status, now)
    gains = {each: Counter({str(status): -count}) for each, count in counts.items() if count}
    tallies.move(db, {broadcast.id: Counter(), **gains}, now=now)
    return total


def _requeue(
    db: Db, broadcast: Broadcast, status: DeliveryStatus, codes: Sequence[str], now: int
) -> int:
    family_id = broadcast.parent_id or (broadcast.first_way_id and broadcast.id)
    requeue = _REQUEUES[bool(codes), bool(family_id), is_postgres(db)]
    values: dict[str, Any] = {"broadcast_id": broadcast.id, "status": status, "now": now}
    if codes:
        values["codes"] = _list(db, codes)
    if family_id:
        step = -1 if broadcast.step is None else broadcast.step
        values |= {"parent_id": family_id, "step": step}
    db.execute(requeue.remember, values | {"most": events.MOST})
    return rowcount(db, requeue.move, values | {"void": VOID})


def _list(db: Db, values: Sequence[str]) -> Any:
    return list(values) if is_postgres(db) else json.dumps(list(values))


_AWAIT = text(f"""
    UPDATE deliveries SET status = 'fallback', updated_at = :now
    WHERE broadcast_id = :broadcast_id AND status = :status AND EXISTS (
        SELECT 1 FROM {_ROW_OF_WAY}
        WHERE way.parent_id = :broadcast_id AND row.status = 'queued')
""")  # noqa: S608 - the tables are ours


def _await(db: Db, broadcast_id: str, status: DeliveryStatus, now: int) -> int:
    """Make deliveries wait for the results of their last ways; return how many."""
    values = {"broadcast_id": broadcast_id, "status": status, "now": now}
    return rowcount(db, _AWAIT, values)


@dataclass(frozen=True, slots=True)
class RetryWay:
    """The way that a retry uses, and the kinds of recipients that its channel takes.

    `first_id` is the id of the way with step 0. `bytes` is the size of newly stored messages.
    """

    way: Broadcast
    first_id: str
    takes_groups: bool
    takes_user_ids: bool
    bytes: int = 0

    def values(self) -> dict[str, Any]:
        """Return the parameters of the statements."""
        return {
            "way_id": self.way.id,
            "way_head": ids.head(self.way.id),
            "first_id": self.first_id,
            "first_head": ids.head(self.first_id),
            "takes_groups": self.takes_groups,
            "takes_user_ids": self.takes_user_ids,
        }


_TAKEN: Final = """(:takes_groups OR recipient NOT LIKE '%@g.us')
    AND (:takes_user_ids OR substr(recipient, 1, 1) BETWEEN '0' AND '9')"""
"""Whether a recipient is of a kind that the channel of a way takes."""

_ENTERED: Final = """EXISTS (
    SELECT 1 FROM deliveries AS row
    WHERE row.id = :way_head || substr(deliveries.id, 19) AND row.status = 'queued')"""
_ENTER: Final = f"""
    INSERT INTO deliveries
        (id, broadcast_id, recipient, status, attempts, due_at, updated_at, variables)
    SELECT :way_head || substr(id, 19), :way_id, recipient, 'queued', 0, :now, :now, variables
    FROM (SELECT id, recipient, variables FROM deliveries
          WHERE {_RETRIED.format(by=":way_id")} AND {_TAKEN}
          ORDER BY id {{locked}}) AS chosen
"""  # noqa: S608 - the conditions are ours
_NOT_THERE: Final = """AND NOT EXISTS (
    SELECT 1 FROM deliveries AS row WHERE row.id = :way_head || substr(deliveries.id, 19))"""
_ENTERS: Final = {
    (has_codes, on_postgres): text(
        _ENTER.format(
            of_codes=_OF_CODES[on_postgres] if has_codes else "",
            of_ways=_NOT_THERE,
            locked="FOR UPDATE" if on_postgres else "",
        )
    )
    for has_codes in (False, True)
    for on_postgres in (False, True)
}
_KEPT: Final = """recipient, attempts, due_at, message_ids, progress, code, reason, pricing,
    sent_at, delivered_at, read_at, updated_at, variables"""
_BEGIN: Final = text(f"""
    INSERT INTO deliveries (id, broadcast_id, status, {_KEPT})
    SELECT :first_head || substr(id, 19), :first_id, 'failed', {_KEPT} FROM deliveries
    WHERE broadcast_id = :broadcast_id AND status = :status AND {_ENTERED} AND NOT EXISTS (
        SELECT 1 FROM deliveries AS row WHERE row.id = :first_head || substr(deliveries.id, 19))
""")  # noqa: S608 - the conditions are ours
_LEAVE: Final = text(f"""
    UPDATE deliveries SET status = 'failed', updated_at = :now
    WHERE broadcast_id = :left_id AND status = 'uncertain' AND {_ENTERED}
""")  # noqa: S608 - the condition is ours
_REMEMBER: Final = events.keeping(
    EventKind.PASSED_ON, f"broadcast_id = :broadcast_id AND status = :status AND {_ENTERED}"
)


_ADD: Final = text("""
    UPDATE broadcasts SET first_way_id = :first_id, bytes = bytes + :bytes, version = version + 1
    WHERE id = :broadcast_id
""")


def pass_on(  # noqa: PLR0913 - of what, to where, which of it, and when
    db: Db,
    broadcast: Broadcast,
    entered_by: RetryWay,
    status: DeliveryStatus,
    *,
    codes: Sequence[str] = (),
    now: int,
) -> int:
    """Move failed or uncertain deliveries to one more way; return how many.

    Deliveries already in that way are sent again there. The others are chosen as in `requeue`,
    without those that the channel cannot reach.
    """
    opted_out.queueing(db)
    way = entered_by.way
    values = {**entered_by.values(), "broadcast_id": broadcast.id, "status": status}
    values |= {"now": now, "codes": _list(db, codes), "most": events.MOST}
    again = _requeue(db, way, status, codes, now)
    entered = rowcount(db, _ENTERS[bool(codes), is_postgres(db)], values)
    begun = rowcount(db, _BEGIN, values)
    gains = {way.id: Counter({str(status): -again})}
    for left in ways.of(db, broadcast)[1:]:
        if left.id != way.id:
            count = rowcount(db, _LEAVE, values | {"left_id": left.id})
            gains[left.id] = Counter({"uncertain": -count, "failed": count})
    db.execute(_REMEMBER, values)
    count = _await(db, broadcast.id, status, now)
    gains |= {broadcast.id: Counter({str(status): -count})}
    gains |= {entered_by.first_id: Counter({"failed": begun})}
    added = {way.id: entered, entered_by.first_id: begun}
    tallies.move(db, gains, added=added, now=now)
    return again + entered


def note_way(db: Db, broadcast: Broadcast, way: RetryWay) -> None:
    """Note a new way in its broadcast. Call it after `pass_on`: others lock deliveries first."""
    values = {"first_id": way.first_id, "bytes": way.bytes, "broadcast_id": broadcast.id}
    db.execute(_ADD, values)
    db.refresh(broadcast)


class LeftOut(NamedTuple):
    """How many deliveries a retry left out, by the code of the reason."""

    opted_out: int
    unreachable_by_channel: int


_LEFT_OUT: Final = {
    (goes_on, has_codes, on_postgres): text(f"""
        SELECT count(*) AS every, COALESCE(sum(CASE WHEN {reached} THEN 0 ELSE 1 END), 0) AS beyond
        FROM deliveries
        WHERE broadcast_id = :broadcast_id AND status = :status AND COALESCE(code, '') <> 'invalid'
            {_OF_CODES[on_postgres] if has_codes else ""}
    """)  # noqa: S608 - the conditions are ours
    for goes_on, reached in ((False, _KNOWN_TO_REACH), (True, _TAKEN))
    for has_codes in (False, True)
    for on_postgres in (False, True)
}


def left_out(
    db: Db,
    broadcast: Broadcast,
    entered_by: RetryWay | None,
    statuses: Iterable[DeliveryStatus],
    *,
    codes: Sequence[str] = (),
) -> LeftOut:
    """Count the deliveries that `requeue`, or `pass_on` with its way, left out.

    Call it in the same transaction.
    """
    counted = _LEFT_OUT[entered_by is not None, bool(codes), is_postgres(db)]
    values = {**(entered_by.values() if entered_by else {}), "codes": _list(db, codes)}
    values["broadcast_id"] = broadcast.id
    rows = [db.execute(counted, values | {"status": each}).one() for each in statuses]
    every, beyond = (sum(counts) for counts in zip(*rows, strict=True))
    return LeftOut(every - beyond, beyond)
