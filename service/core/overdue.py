"""Broadcasts for the sweep: due to start, expired or cancelled, or wrongly still open."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, text
from sqlalchemy.orm import Session as Db

_START = text("""
    UPDATE broadcasts SET status = 'sending', updated_at = :now, version = version + 1
    WHERE closed_at IS NULL AND status = 'scheduled' AND send_at <= :now
        AND (send_type <> 'group' OR parent_id IS NOT NULL) RETURNING id
""")
_GROUPS = text("""
    SELECT id FROM broadcasts
    WHERE closed_at IS NULL AND status = 'scheduled' AND send_at <= :now AND send_type = 'group'
        AND parent_id IS NULL ORDER BY id
""")
_ENDING = text("""
    SELECT id, status FROM broadcasts AS b
    WHERE closed_at IS NULL AND (status = 'cancelled' OR expires_at <= :now)
        AND EXISTS (SELECT 1 FROM deliveries AS d
                    WHERE d.broadcast_id = b.id AND d.status = 'queued')
""")
_HELD = text("""
    SELECT id FROM broadcasts AS b
    WHERE closed_at IS NULL AND expires_at <= :now
        AND EXISTS (SELECT 1 FROM deliveries AS d
                    WHERE d.broadcast_id = b.id AND d.status = 'held')
""")
# The last delivery of each status: those before it, which have been sent since, stay in the index
# for a while, and Postgres would read them all.
_STUCK = text("""
    SELECT id FROM broadcasts AS b
    WHERE closed_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM recipient_chunks AS c WHERE c.broadcast_id = b.id)
        AND NOT EXISTS (
            SELECT 1 FROM (SELECT 'queued' AS status UNION ALL SELECT 'sending'
                           UNION ALL SELECT 'held' UNION ALL SELECT 'fallback') AS o
            WHERE (SELECT d.id FROM deliveries AS d
                   WHERE d.broadcast_id = b.id AND d.status = o.status
                   ORDER BY d.id DESC LIMIT 1) IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM due_ways AS w WHERE w.broadcast_id = b.id)
""")


def start(db: Db, *, now: int) -> Sequence[str]:
    """Start the broadcasts to numbers whose time has come; return their ids."""
    return db.scalars(_START, {"now": now}).all()


def to_groups(db: Db, *, now: int) -> Sequence[str]:
    """List the broadcasts to groups whose time has come: `starts.begin` starts each."""
    return db.scalars(_GROUPS, {"now": now}).all()


def ending(db: Db, *, now: int) -> Sequence[Row[str, str]]:
    """List the cancelled and expired broadcasts (`id`, `status`) that have deliveries queued."""
    return db.execute(_ENDING, {"now": now}).all()


def held(db: Db, *, now: int) -> Sequence[str]:
    """List the expired broadcasts of which a provider still holds deliveries back."""
    return db.scalars(_HELD, {"now": now}).all()


def stuck(db: Db) -> Sequence[str]:
    """List the open broadcasts that have no open delivery."""
    return db.scalars(_STUCK).all()
