"""Claims: reserve deliveries for one process, and recover them when it dies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from sqlalchemy import CursorResult, RowMapping, bindparam, text
from sqlalchemy.orm import Session as Db

from service.core import daily_limits
from service.core.deliveries import events, opted_out, tallies
from service.core.deliveries.progress import PROCESS_DIED, VOID
from service.database import is_postgres, rowcount
from service.metrics import meters
from service.models import DeliveryStatus, EventKind


class Claimed(NamedTuple):
    """A delivery that only this process may send. Its id and `claimed_at` identify the claim."""

    id: str
    broadcast_id: str
    recipient: str
    attempts: int
    message_ids: str | None
    claimed_at: int = 0
    variables: str | None = None


# A late failure may reopen a broadcast after its client was disabled, and one may be accepted just
# while that happens: neither is sent.
_SESSION_MAY_GO = """s.held_until <= :now AND s.opens_at <= :now AND s.closes_at > :now
    AND (SELECT disabled_at FROM clients WHERE clients.id = s.client_id) IS NULL"""
_BROADCAST_MAY_GO = """b.status = 'sending' AND b.closed_at IS NULL AND b.expires_at > :now
    AND b.opens_at <= :now AND b.closes_at > :now"""
MAY_GO = f"{_BROADCAST_MAY_GO} AND {_SESSION_MAY_GO}"
"""The condition on a broadcast `b` and its session `s` for sending at `:now`."""

# Select the rows once, into an array. With a join, the subquery could run once per outer row
# (QueueClassic/queue_classic#320). The planner also estimates an unknown LIMIT as a tenth of all
# rows and would then read the whole table for each claim.
_CLAIM_POSTGRES = text(f"""
    UPDATE deliveries SET status = 'sending', claim_id = :claim_id, updated_at = :now
    WHERE id = ANY(ARRAY(
        SELECT d.id FROM unnest(
            CAST(:broadcast_ids AS text[]), CAST(:shares AS int[]), CAST(:revisions AS int[]))
            AS turn(broadcast_id, share, revision)
        JOIN broadcasts AS b ON b.id = turn.broadcast_id AND b.revision = turn.revision
        JOIN sessions AS s ON s.id = b.session_id AND {MAY_GO}
        CROSS JOIN LATERAL (
            SELECT id FROM deliveries
            WHERE broadcast_id = turn.broadcast_id AND status = 'queued' AND due_at <= :now
            ORDER BY due_at, id LIMIT turn.share FOR UPDATE SKIP LOCKED) AS d))
    RETURNING id, broadcast_id, recipient, attempts, message_ids, updated_at, variables
""")  # noqa: S608 - the condition is ours
_CLAIM_SQLITE = text(f"""
    UPDATE deliveries SET status = 'sending', claim_id = :claim_id, updated_at = :now
    WHERE id IN (
        SELECT id FROM deliveries
        WHERE broadcast_id = :broadcast_id AND status = 'queued' AND due_at <= :now
            AND EXISTS (SELECT 1 FROM broadcasts AS b JOIN sessions AS s ON s.id = b.session_id
                        WHERE b.id = :broadcast_id AND b.revision = :revision AND {MAY_GO})
        ORDER BY due_at, id LIMIT :share)
""")  # noqa: S608 - the condition is ours
# Return one JSON string: for each row that SQLite returns, this thread would yield to another.
_CLAIMED_SQLITE = text("""
    SELECT json_group_array(
        json_array(id, broadcast_id, recipient, attempts, message_ids, updated_at, variables))
    FROM deliveries WHERE status = 'sending' AND claim_id = :claim_id AND updated_at = :now
""")


def take(
    db: Db,
    claim_id: str,
    shares: Mapping[str, int],
    *,
    now: int,
    revisions: Mapping[str, int] = MappingProxyType({}),
) -> list[Claimed]:
    """Claim due deliveries for a dispatcher, at most `shares[broadcast_id]` per broadcast.

    Skips broadcasts that must not send now, and those whose revision is not the one that the
    dispatcher knows (0 by default).

    Each claim of a dispatcher needs its own `now`, which identifies it.
    """
    common = {"claim_id": claim_id, "now": now}
    if is_postgres(db):
        turns = {
            "broadcast_ids": list(shares),
            "shares": list(shares.values()),
            "revisions": [revisions.get(each, 0) for each in shares],
        }
        # Use the cursor directly, without the cost of SQLAlchemy's rows.
        cursor = cast("CursorResult[Any]", db.execute(_CLAIM_POSTGRES, common | turns)).cursor
        return list(map(Claimed._make, cursor.fetchall()))
    for broadcast_id, share in shares.items():
        turn = {"broadcast_id": broadcast_id, "share": share}
        turn["revision"] = revisions.get(broadcast_id, 0)
        db.execute(_CLAIM_SQLITE, common | turn)
    return list(map(Claimed._make, json.loads(db.scalar(_CLAIMED_SQLITE, common) or "[]")))


class Active(NamedTuple):
    """A broadcast with due deliveries, on a session that can send."""

    broadcast_id: str
    parts: int
    expires_at: int
    session_id: str
    session_version: int
    revision: int
    client_id: str
    channel: str = ""


# One index step per session with open broadcasts, however many broadcasts those are.
_ABLE = f"""
    WITH RECURSIVE open_session(id) AS (
        SELECT min(session_id) FROM broadcasts WHERE status = 'sending' AND closed_at IS NULL
        UNION ALL
        SELECT (SELECT min(session_id) FROM broadcasts
                WHERE status = 'sending' AND closed_at IS NULL AND session_id > open_session.id)
        FROM open_session WHERE open_session.id IS NOT NULL),
    able AS (
        SELECT s.id, s.client_id, s.version, s.channel,
            count(*) OVER (PARTITION BY s.client_id) AS siblings
        FROM open_session JOIN sessions AS s ON s.id = open_session.id AND {_SESSION_MAY_GO})
"""  # noqa: S608 - the condition is ours
_COLUMNS = "b.id, b.parts, b.expires_at, s.id, s.version, b.revision, s.client_id, s.channel"
# Not EXISTS: without statistics, Postgres would join it with all queued deliveries. In the order of
# the index: otherwise it expects to find one soon wherever it looks, and reads all that were sent.
_IS_DUE = """(SELECT d.id FROM deliveries AS d
    WHERE d.broadcast_id = b.id AND d.status = 'queued' AND d.due_at <= :now
    ORDER BY d.due_at, d.id LIMIT 1) IS NOT NULL"""
_IS_NEXT = "b.id > coalesce(CAST(:cursors AS jsonb) ->> s.id, '')"
_ACTIVE_POSTGRES = text(f"""
    {_ABLE} SELECT {_COLUMNS} FROM able AS s CROSS JOIN LATERAL (
        SELECT b.id, b.parts, b.expires_at, b.revision FROM broadcasts AS b
        WHERE b.session_id = s.id AND {_BROADCAST_MAY_GO} AND {_IS_NEXT} AND {_IS_DUE}
        ORDER BY b.id LIMIT 1 + greatest(1, :turns / s.siblings)) AS b
""")  # noqa: S608 - the conditions are ours
_ACTIVE_ASSIGNED = text(f"""
    SELECT {_COLUMNS} FROM broadcasts AS b JOIN sessions AS s ON s.id = b.session_id
    WHERE (b.id = ANY(:broadcast_ids) OR s.id = ANY(:session_ids)) AND {MAY_GO}
        AND {_IS_NEXT} AND {_IS_DUE} ORDER BY b.id
""")  # noqa: S608 - the conditions are ours
_ABLE_SQLITE = text(f"{_ABLE} SELECT id, siblings FROM able")  # noqa: S608 - as above
_ACTIVE_SQLITE = text(f"""
    SELECT {_COLUMNS} FROM broadcasts AS b JOIN sessions AS s ON s.id = b.session_id
    WHERE b.session_id = :session_id AND {_BROADCAST_MAY_GO} AND b.id > :cursor AND {_IS_DUE}
    ORDER BY b.id LIMIT :limit
""")  # noqa: S608 - the conditions are ours


class Assigned(NamedTuple):
    """The broadcasts to claim from: these, and all broadcasts of these sessions."""

    broadcast_ids: list[str]
    session_ids: list[str]


def active(
    db: Db, cursors: Mapping[str, str], *, turns: int, assigned: Assigned | None, now: int
) -> list[Active]:
    """List broadcasts with claimable deliveries: about `turns` for each client.

    The sessions of a client share these evenly. For each session, the list has the broadcasts in id
    order after its cursor, and one more than its share if there are more. With `assigned`, it has
    all of those.
    """
    if not is_postgres(db):
        return _active_sqlite(db, cursors, turns, now)
    values: dict[str, Any] = {"cursors": json.dumps(dict(cursors)), "now": now}
    if assigned is None:
        rows = db.execute(_ACTIVE_POSTGRES, values | {"turns": turns})
    else:
        rows = db.execute(_ACTIVE_ASSIGNED, values | assigned._asdict())
    return [Active(*row) for row in rows]


def _active_sqlite(db: Db, cursors: Mapping[str, str], turns: int, now: int) -> list[Active]:
    """List them with a statement per session: in SQLite, no limit can depend on a row."""
    found: list[Active] = []
    for session_id, siblings in db.execute(_ABLE_SQLITE, {"now": now}).all():
        values = {"session_id": session_id, "cursor": cursors.get(session_id, ""), "now": now}
        values["limit"] = 1 + max(1, turns // siblings)
        found += [Active(*row) for row in db.execute(_ACTIVE_SQLITE, values)]
    return found


_SENDABLE = text(f"""
    SELECT b.id FROM broadcasts AS b JOIN sessions AS s ON s.id = b.session_id
    WHERE b.id IN :broadcast_ids AND {MAY_GO}
""").bindparams(bindparam("broadcast_ids", expanding=True))  # noqa: S608 - the condition is ours


def sendable(db: Db, broadcast_ids: set[str], *, now: int) -> set[str]:
    """Return the broadcasts that may send now: not paused, held or expired, in their windows."""
    values = {"broadcast_ids": list(broadcast_ids), "now": now}
    return set(db.scalars(_SENDABLE, values))


_RELEASE = text("""
    UPDATE deliveries SET status = 'queued', claim_id = NULL, updated_at = :now
    WHERE status = 'sending' AND claim_id = :claim_id AND updated_at = :claimed_at
    RETURNING id
""")


def release(db: Db, claim_id: str, claimed_at: int, *, now: int) -> int:
    """Return unsent deliveries of a claim to the queue; return how many."""
    opted_out.queueing(db)
    values = {"claim_id": claim_id, "claimed_at": claimed_at, "now": now}
    released = db.scalars(_RELEASE, values).all()
    daily_limits.give_back(db, [(each, claimed_at) for each in released])
    opted_out.suppress_some(db, released, now=now)
    return len(released)


_RETURN = """
    UPDATE deliveries SET status = 'queued', claim_id = NULL, updated_at = :now
    WHERE status = 'sending' AND claim_id = :claim_id AND broadcast_id = :broadcast_id
        AND {is_untouched}
"""
_RETURN_POSTGRES = text(_RETURN.format(is_untouched="id <> ALL(CAST(:under_way AS text[]))"))
_RETURN_SQLITE = text(
    _RETURN.format(is_untouched="id NOT IN (SELECT value FROM json_each(:under_way))")
)


def return_untouched(
    db: Db, claim_id: str, broadcast_id: str, under_way: set[str], *, now: int
) -> int:
    """Return the unsent deliveries of a dead dispatcher to the queue; return how many."""
    listed = list(under_way)
    statement, ids = (
        (_RETURN_POSTGRES, listed) if is_postgres(db) else (_RETURN_SQLITE, json.dumps(listed))
    )
    values = {"claim_id": claim_id, "broadcast_id": broadcast_id, "now": now, "under_way": ids}
    opted_out.queueing(db)
    count = rowcount(db, statement, values)
    opted_out.suppress(db, broadcast_id, now=now)
    meters.note(db.info, "rescued", ("untouched",), count)
    return count


_RESCUED = "status = 'sending' AND claim_id = :claim_id AND broadcast_id = :broadcast_id"
_REMEMBER_RESCUE = events.keeping(EventKind.RESCUED, _RESCUED, "NULL, NULL")
_RESCUE = text(f"""
    UPDATE deliveries SET
        status = :status, claim_id = NULL, attempts = attempts + :tried, due_at = :now,
        updated_at = :now, code = :code, reason = :reason, message_ids =
            CASE :status WHEN 'queued' THEN trim(COALESCE(message_ids, '') || ' ' || :void)
                         ELSE message_ids END
    WHERE {_RESCUED} RETURNING id, broadcast_id, status
""")  # noqa: S608 - the condition is ours


def rescue(
    db: Db, claim_id: str, broadcast_id: str, *, resend: bool, now: int
) -> list[tallies.Closed]:
    """Recover a dead dispatcher's deliveries of a broadcast: queue them again or mark uncertain."""
    held = {
        "status": DeliveryStatus.UNCERTAIN,
        "tried": 1,
        "code": PROCESS_DIED,
        "reason": "The sending process stopped before it recorded the provider's answer. The"
        " message may have arrived. If a second copy does no harm, retry with"
        " POST /broadcast/{id}/retry.",
    }
    again = {"status": DeliveryStatus.QUEUED, "tried": 0, "code": None, "reason": None}
    values = {"claim_id": claim_id, "broadcast_id": broadcast_id, "void": VOID, "now": now}
    opted_out.queueing(db)
    if resend:
        db.execute(_REMEMBER_RESCUE, values | {"most": events.MOST})
    moved = db.execute(_RESCUE, values | (again if resend else held)).all()
    meters.note(db.info, "rescued", ("queued" if resend else "uncertain",), len(moved))
    if resend:
        opted_out.suppress(db, broadcast_id, now=now)
    return tallies.move(db, tallies.gains(moved), touched=[row.id for row in moved], now=now)


_ORPHANS = text("""
    SELECT DISTINCT claim_id, broadcast_id FROM deliveries
    WHERE status = 'sending' AND claim_id NOT IN (SELECT id FROM dispatchers)
""")


def orphans(db: Db) -> list[RowMapping]:
    """List the claims (`claim_id`, `broadcast_id`) of dispatchers that are gone."""
    return list(db.execute(_ORPHANS).mappings())
