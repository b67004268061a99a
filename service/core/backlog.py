"""The backlog: how much is accepted and not final, and how long the oldest of it has been due.

Read from the counters of open broadcasts and the index on what is queued: the price goes with the
number of open broadcasts, never with what has been delivered.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.models import COUNTED, FOREVER, SessionStatus


class Depth(NamedTuple):
    """The deliveries that are not final, of the broadcasts in one state on one channel."""

    channel: str
    status: str
    deliveries: int


class Oldest(NamedTuple):
    """The oldest due delivery of the sessions in one state on one channel.

    Since when it is due in milliseconds of Unix time, None: there is none.
    """

    channel: str
    session: str
    due_at: int | None


_DEPTHS = text(f"""
    SELECT COALESCE(s.channel, 'none') AS channel, b.status,
        SUM(b.total - {" - ".join(f"b.{name}" for name in COUNTED)}) AS deliveries
    FROM broadcasts AS b LEFT JOIN sessions AS s ON s.id = b.session_id
    WHERE b.closed_at IS NULL GROUP BY 1, 2
""")  # noqa: S608 - the names are ours
_OLDEST = text(f"""
    SELECT s.channel, CASE WHEN s.held_until <= :now THEN '{SessionStatus.READY}'
            WHEN s.held_until = {FOREVER} THEN '{SessionStatus.BLOCKED}'
            ELSE '{SessionStatus.THROTTLED}' END AS session, MIN(
        (SELECT MIN(d.due_at) FROM deliveries AS d
         WHERE d.broadcast_id = b.id AND d.status = 'queued' AND d.due_at <= :now)) AS due_at
    FROM broadcasts AS b JOIN sessions AS s ON s.id = b.session_id
    WHERE b.closed_at IS NULL AND b.status = 'sending' GROUP BY 1, 2
""")  # noqa: S608 - as above


def depths(db: Db) -> list[Depth]:
    """Count what is accepted and neither sent nor given up, by channel and state of broadcast."""
    return [Depth(row.channel, row.status, int(row.deliveries)) for row in db.execute(_DEPTHS)]


def oldest(db: Db, *, now: int) -> list[Oldest]:
    """Find since when deliveries have been due, by channel and state of session.

    Only of broadcasts that are sending: what is paused or scheduled waits as it was told to.
    """
    return [Oldest._make(row) for row in db.execute(_OLDEST, {"now": now})]
