"""The backlog: how many deliveries are not final, and how long the oldest has been due.

It reads the counters of open broadcasts and the index of queued deliveries. The cost grows with the
number of open broadcasts, not with past deliveries.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.models import COUNTED, FOREVER, SessionStatus


class QueueDepth(NamedTuple):
    """Number of deliveries that are not final, by channel and broadcast status."""

    channel: str
    status: str
    deliveries: int


class OldestDue(NamedTuple):
    """The oldest due delivery, by channel and session status.

    `due_at` is in Unix milliseconds, None if nothing is due.
    """

    channel: str
    session: str
    due_at: int | None


_DEPTHS = text(f"""
    SELECT COALESCE(s.channel, 'none') AS channel, b.status,
        SUM(b.total - {" - ".join(f"b.{name}" for name in COUNTED)}) AS deliveries
    FROM broadcasts AS b LEFT JOIN sessions AS s ON s.id = b.session_id
    WHERE b.closed_at IS NULL AND b.parent_id IS NULL GROUP BY 1, 2
""")  # noqa: S608 - the names are ours
_OLDEST = text(f"""
    SELECT s.channel, CASE WHEN s.held_until <= :now THEN '{SessionStatus.READY}'
            WHEN s.held_until = {FOREVER} THEN '{SessionStatus.BLOCKED}'
            ELSE '{SessionStatus.THROTTLED}' END AS session, MIN(
        (SELECT MIN(d.due_at) FROM deliveries AS d
         WHERE d.broadcast_id = b.id AND d.status = 'queued' AND d.due_at <= :now)) AS due_at
    FROM broadcasts AS b JOIN sessions AS s ON s.id = b.session_id
    WHERE b.closed_at IS NULL AND b.status = 'sending'
        AND b.opens_at <= :now AND b.closes_at > :now AND s.opens_at <= :now AND s.closes_at > :now
    GROUP BY 1, 2
""")  # noqa: S608 - as above


def depths(db: Db) -> list[QueueDepth]:
    """Count deliveries that are not final, by channel and broadcast status."""
    return [QueueDepth(row.channel, row.status, int(row.deliveries)) for row in db.execute(_DEPTHS)]


def oldest(db: Db, *, now: int) -> list[OldestDue]:
    """Find the oldest due deliveries, by channel and session status.

    Only sending broadcasts count: paused and scheduled ones wait on purpose, and so do those
    outside of their window.
    """
    return [OldestDue._make(row) for row in db.execute(_OLDEST, {"now": now})]
