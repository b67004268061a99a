"""Transitions: every change of a delivery's status except claiming.

Each one is a guarded UPDATE that names the expected state, and updates the broadcast's counters in
the same transaction. Lists of rows are passed as arrays on Postgres and as JSON on SQLite.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.core import daily_limits
from service.core.deliveries import events, opted_out, tallies
from service.core.deliveries.events import Event
from service.database import is_postgres, rowcount
from service.models import DeliveryStatus, EventKind


class Outcome(NamedTuple):
    """The result of a claimed delivery. `tried` is 0 if the provider was not called.

    `at` and `due_at` are Unix milliseconds; `due_at` matters if it is queued again. `claimed_at`
    identifies its claim; 0 matches any.
    """

    id: str
    status: DeliveryStatus
    tried: int
    at: int
    due_at: int
    message_ids: str | None = None
    code: str | None = None
    reason: str | None = None
    claimed_at: int = 0

    @property
    def broadcast_id(self) -> str:
        """The broadcast of the delivery, derived from its id."""
        return f"{self.id[:18]}000000"


LONGEST: Final = 1_000
"""The most characters to store of a provider's id, code or reason."""


def storable(words: str, *, longest: int = LONGEST) -> str:
    """Shorten a provider's text and remove what a database cannot store.

    That is NUL and lone surrogates.
    """
    if len(words) <= longest and words.isascii() and "\0" not in words:
        return words
    return words[:longest].replace("\0", "").encode("utf-8", "replace").decode()


# A result may be written twice if the first answer was lost. The second write must not match a
# newer claim of the same dispatcher, so the time of the claim is checked. The guard is in a CASE so
# that rows are found by id: otherwise Postgres would scan the index of claimed rows once per
# outcome, or the whole table before it has statistics.
_RECORD = """
    UPDATE deliveries SET
        status = o.status, claim_id = NULL, attempts = deliveries.attempts + o.tried,
        due_at = o.due_at, updated_at = o.at,
        sent_at = CASE WHEN o.status = 'sent' THEN o.at ELSE sent_at END,
        message_ids = o.message_ids, code = o.code, reason = o.reason
    FROM {outcomes}
    WHERE deliveries.id = o.id AND {found} CASE
        WHEN deliveries.claim_id = :claim_id AND deliveries.status = 'sending'
        THEN o.claimed_at IN (0, deliveries.updated_at) ELSE FALSE END
"""
_OUTCOMES_POSTGRES = """unnest(
    CAST(:id AS text[]), CAST(:status AS text[]), CAST(:tried AS int[]),
    CAST(:at AS bigint[]), CAST(:due_at AS bigint[]), CAST(:message_ids AS text[]),
    CAST(:code AS text[]), CAST(:reason AS text[]), CAST(:claimed_at AS bigint[]))
    AS o(id, status, tried, at, due_at, message_ids, code, reason, claimed_at)"""
_FOUND_POSTGRES = "deliveries.id = ANY(CAST(:id AS text[])) AND"
_RECORD_POSTGRES = text(f"""
    WITH moved AS ({_RECORD.format(outcomes=_OUTCOMES_POSTGRES, found=_FOUND_POSTGRES)}
        RETURNING deliveries.broadcast_id, deliveries.status)
    SELECT broadcast_id, status, count(*) FROM moved GROUP BY broadcast_id, status
""")  # noqa: S608 - the names are ours


def _unpacked(alias: str, parameter: str, kind: type[Outcome | Move]) -> str:
    """Return the rows of a JSON list as a table for SQLite."""
    columns = ", ".join(
        f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(kind._fields)
    )
    return f"(SELECT {columns} FROM json_each(:{parameter})) AS {alias}"  # noqa: S608 - ours


_RECORD_SQLITE = text(_RECORD.format(outcomes=_unpacked("o", "outcomes", Outcome), found=""))


def record(db: Db, claim_id: str, outcomes: Sequence[Outcome], *, now: int) -> list[tallies.Closed]:
    """Write the results of claimed deliveries; return the broadcasts that this closed.

    Skip deliveries that this claim no longer holds: another process handles them. If an outcome
    queues a delivery, call `opted_out.queueing` first.
    """
    queued = [each for each in outcomes if each.status is DeliveryStatus.QUEUED]
    events.keep(db, [*_unfinished(queued)], claim_id=claim_id)
    if is_postgres(db):
        values = {"claim_id": claim_id, **_arrays(outcomes)}
        moved: Iterable[Any] = db.execute(_RECORD_POSTGRES, values).all()
    else:
        moved = [_record_alike(db, claim_id, alike) for alike in _by_end(outcomes)]
    ended = (each.id for each in outcomes if each.status is not DeliveryStatus.QUEUED)
    closed = tallies.move(db, tallies.add_up(moved), touched=ended, now=now)
    if not queued:
        return closed
    unsent = [each for each in queued if not (each.tried or each.message_ids)]
    daily_limits.give_back(db, [(each.id, each.claimed_at) for each in unsent])
    return closed + opted_out.suppress_some(db, [each.id for each in queued], now=now)


def _unfinished(queued: Iterable[Outcome]) -> Iterable[Event]:
    """Yield events for deliveries to be tried again: the next attempt overwrites their reason."""
    for each in queued:
        if each.reason:
            kind = EventKind.RETRYING if each.tried else EventKind.HELD
            told = (each.code, each.reason, each.due_at, each.claimed_at)
            yield Event(each.id, each.at, kind, 0, *told)


def _record_alike(
    db: Db, claim_id: str, outcomes: Sequence[Outcome]
) -> tuple[str, DeliveryStatus, int]:
    """Write outcomes of one broadcast and status; return both, and the number of rows.

    SQLite returns only the number: for each returned row, this thread would yield to another.
    """
    values = {"claim_id": claim_id, "outcomes": json.dumps(outcomes)}
    count = rowcount(db, _RECORD_SQLITE, values)
    return outcomes[0].broadcast_id, outcomes[0].status, count


def _by_end(outcomes: Sequence[Outcome]) -> Iterable[list[Outcome]]:
    """Group outcomes by broadcast and status."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.broadcast_id, outcome.status), []).append(outcome)
    return groups.values()


def _arrays(rows: Sequence[Outcome] | Sequence[Move]) -> dict[str, str]:
    """Format rows as one Postgres array per field.

    psycopg would look up the type of each element, which took a third of the time.
    """
    columns = zip(*rows, strict=True)
    return {
        name: f"{{{','.join(_elements(_ELEMENTS.get(name, str), column))}}}"
        for name, column in zip(rows[0]._fields, columns, strict=True)
    }


def _elements(format_one: Callable[[Any], str], column: Sequence[Any]) -> Iterable[str]:
    """Format a field of all rows. For sent deliveries, most fields are equal in all rows."""
    if column.count(column[0]) == len(column):
        return [format_one(column[0])] * len(column)
    return map(format_one, column)


def _quoted(words: str | None) -> str:
    if words is None:
        return "NULL"
    escaped = words.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _optional(moment: int | None) -> str:
    return "NULL" if moment is None else str(moment)


_ELEMENTS: Final[dict[str, Callable[[Any], str]]] = {
    **dict.fromkeys(("message_ids", "progress", "code", "reason", "pricing"), _quoted),
    **dict.fromkeys(("sent_at", "delivered_at", "read_at"), _optional),
}
"""How to format the fields that need it; others are numbers, ids and our own words."""


_WITHDRAW = text("""
    UPDATE deliveries SET status = :status, updated_at = :now, code = :code, reason = :reason
    WHERE id IN (SELECT id FROM deliveries
                 WHERE broadcast_id = :broadcast_id AND status = 'queued' LIMIT :limit)
        AND status = 'queued'
    RETURNING id, broadcast_id, status
""")


def withdraw(  # noqa: PLR0913 - a row has that many columns to set
    db: Db,
    broadcast_id: str,
    status: DeliveryStatus,
    code: str,
    reason: str,
    *,
    limit: int,
    now: int,
) -> int:
    """End up to `limit` unclaimed deliveries; return how many."""
    values = {"status": status, "code": code, "reason": reason, "limit": limit, "now": now}
    moved = db.execute(_WITHDRAW, values | {"broadcast_id": broadcast_id}).all()
    tallies.move(db, tallies.gains(moved), touched=[row.id for row in moved], now=now)
    return len(moved)


_DOUBT_HELD = text("""
    UPDATE deliveries SET status = 'uncertain', updated_at = :now, reason = :reason
    WHERE broadcast_id = :broadcast_id AND status = 'held'
    RETURNING broadcast_id, status
""")


def doubt_held(db: Db, broadcast_id: str, *, now: int) -> None:
    """Mark deliveries that a provider holds back uncertain, because the broadcast has expired.

    A receipt still settles them.
    """
    reason = (
        "WhatsApp held this back, and had not said what became of it when the broadcast expired."
    )
    values = {"broadcast_id": broadcast_id, "reason": reason, "now": now}
    tallies.move(db, tallies.gains(db.execute(_DOUBT_HELD, values).all()), now=now)


class Move(NamedTuple):
    """The effect of receipts on a delivery, which `was` in another status or the same.

    Times and `pricing` that are None stay unchanged.
    """

    id: str
    was: DeliveryStatus
    status: DeliveryStatus
    message_ids: str | None
    progress: str
    code: str | None
    reason: str | None
    attempts: int
    due_at: int
    updated_at: int
    sent_at: int | None
    delivered_at: int | None
    read_at: int | None
    pricing: str | None


_FORWARD: Final = """
    UPDATE deliveries SET
        status = m.status, message_ids = m.message_ids, progress = m.progress, code = m.code,
        reason = m.reason, attempts = m.attempts, due_at = m.due_at, updated_at = m.updated_at,
        sent_at = COALESCE(deliveries.sent_at, m.sent_at),
        delivered_at = COALESCE(m.delivered_at, deliveries.delivered_at),
        read_at = COALESCE(m.read_at, deliveries.read_at),
        pricing = COALESCE(m.pricing, deliveries.pricing)
    FROM {moves} WHERE deliveries.id = m.id AND {found} deliveries.status = m.was
"""
_MOVES_POSTGRES: Final = """unnest(
    CAST(:id AS text[]), CAST(:was AS text[]), CAST(:status AS text[]),
    CAST(:message_ids AS text[]), CAST(:progress AS text[]), CAST(:code AS text[]),
    CAST(:reason AS text[]), CAST(:attempts AS int[]), CAST(:due_at AS bigint[]),
    CAST(:updated_at AS bigint[]), CAST(:sent_at AS bigint[]), CAST(:delivered_at AS bigint[]),
    CAST(:read_at AS bigint[]), CAST(:pricing AS text[]))
    AS m(id, was, status, message_ids, progress, code, reason, attempts, due_at, updated_at,
        sent_at, delivered_at, read_at, pricing)"""
_FORWARD_POSTGRES: Final = text(_FORWARD.format(moves=_MOVES_POSTGRES, found=_FOUND_POSTGRES))
_FORWARD_SQLITE: Final = text(_FORWARD.format(moves=_unpacked("m", "moves", Move), found=""))


def bring_forward(db: Db, moves: Sequence[Move]) -> None:
    """Write the effect of receipts on locked deliveries; the caller updates the counters."""
    if not moves:
        return
    if is_postgres(db):
        db.execute(_FORWARD_POSTGRES, _arrays(moves))
    else:
        db.execute(_FORWARD_SQLITE, {"moves": json.dumps(moves)})
