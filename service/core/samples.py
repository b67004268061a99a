"""Samples: a broadcast goes to some recipients, pauses, and goes on to the others when resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session as Db

from service.core import outbox
from service.models import COUNTED, Broadcast, EventType

SENT: Final = "The sample has been sent. Resume the broadcast to send it to the other recipients."
"""The reason of a broadcast that paused after its sample."""

_ENDED: Final = " + ".join(COUNTED)
_PAUSE = text(f"""
    UPDATE broadcasts SET status = 'paused', reason = :reason, updated_at = :now,
        version = version + 1
    WHERE closed_at IS NULL AND status = 'sending' AND sample <= {_ENDED} RETURNING id
""")  # noqa: S608 - the names are ours
_RELEASE = text("""
    UPDATE broadcasts SET sample = NULL
    WHERE closed_at IS NULL AND sample IS NOT NULL AND expires_at <= :now
""")


def pause(db: Db, *, now: int) -> Sequence[str]:
    """Pause the broadcasts that were sent to all of their sample; return their ids."""
    paused = db.scalars(_PAUSE, {"reason": SENT, "now": now}).all()
    for broadcast_id in paused:
        broadcast = db.get_one(Broadcast, broadcast_id, populate_existing=True)
        outbox.tell_broadcast(db, broadcast, EventType.BROADCAST_PAUSED, now=now)
    return paused


def release_expired(db: Db, *, now: int) -> None:
    """Let the other recipients of expired broadcasts become deliveries, so that they can end."""
    db.execute(_RELEASE, {"now": now})


def is_sent(broadcast: Broadcast) -> bool:
    """Return whether a broadcast was sent to all of its sample."""
    ended: int = sum(getattr(broadcast, name) for name in COUNTED)
    return broadcast.sample is not None and broadcast.sample <= ended
