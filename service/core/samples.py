"""Samples: a broadcast goes to some recipients, pauses, and goes on to the others when resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.core import outbox, ways
from service.models import Broadcast, EventType

SENT: Final = "The sample has been sent. Resume the broadcast to send it to the other recipients."
"""The reason of a broadcast that paused after its sample."""

_IS_SENT: Final = """sample IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM recipient_chunks AS c
                    WHERE c.broadcast_id = broadcasts.id AND c.start < sample)
    AND NOT EXISTS (SELECT 1 FROM deliveries AS d
                    WHERE d.broadcast_id = broadcasts.id
                        AND d.status IN ('queued', 'sending', 'fallback'))"""
_PAUSE = text(f"""
    UPDATE broadcasts SET status = 'paused', reason = :reason, updated_at = :now,
        version = version + 1
    WHERE closed_at IS NULL AND status = 'sending' AND {_IS_SENT} RETURNING id
""")  # noqa: S608 - the condition is ours
_SENT_ONE = text(f"SELECT 1 FROM broadcasts WHERE id = :id AND {_IS_SENT}")  # noqa: S608 - as above
_RELEASE = text("""
    UPDATE broadcasts SET sample = NULL
    WHERE closed_at IS NULL AND sample IS NOT NULL AND expires_at <= :now
""")


def pause(db: Db, *, now: int) -> Sequence[str]:
    """Pause the broadcasts that were sent to all of their sample; return their ids."""
    paused = db.scalars(_PAUSE, {"reason": SENT, "now": now}).all()
    for broadcast_id in paused:
        broadcast = db.get_one(Broadcast, broadcast_id, populate_existing=True)
        ways.align(db, broadcast)
        outbox.tell_broadcast(db, broadcast, EventType.BROADCAST_PAUSED, now=now)
    return paused


def release_expired(db: Db, *, now: int) -> None:
    """Let the other recipients of expired broadcasts become deliveries, so that they can end."""
    db.execute(_RELEASE, {"now": now})


def is_sent(db: Db, broadcast: Broadcast) -> bool:
    """Return whether all deliveries of a broadcast's sample have ended."""
    return db.scalar(_SENT_ONE, {"id": broadcast.id}) is not None
