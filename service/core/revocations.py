"""Revocations: claims that a dispatcher must give up because the recipient opted out.

The dispatcher reads its own revoked claims, starts none of them, and deletes the rows. So others
know that it has noticed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, exists, select, text, tuple_
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.orm import Session as Db

from service.core import signals
from service.core.deliveries import opted_out
from service.core.deliveries.opted_out import OptOutOwner
from service.database import insert_new, pieces
from service.models import Delivery, DeliveryStatus, Dispatcher, RevokedClaim


class ClaimKey(NamedTuple):
    """A claim on one delivery; a later claim on the same delivery has another `claimed_at`."""

    delivery_id: str
    claimed_at: int


def revoke(db: Db, whose: OptOutOwner, recipients: Collection[str]) -> list[ClaimKey]:
    """Revoke the claims for some recipients, in all open broadcasts; return them.

    Call it after `opted_out.leave_out`, which waits for claims in progress.
    """
    claimed = (
        select(Delivery.id, Delivery.updated_at, Delivery.claim_id)
        .join(Dispatcher, Dispatcher.id == Delivery.claim_id)
        .where(
            Delivery.status == DeliveryStatus.SENDING,
            Delivery.recipient.in_(recipients),
            Delivery.broadcast_id.in_(opted_out.open_broadcasts(whose)),
        )
    )
    rows = db.execute(claimed).all()
    names = ("delivery_id", "claimed_at", "claim_id")
    if rows:
        insert_new(db, RevokedClaim, [dict(zip(names, row, strict=True)) for row in rows])
        signals.announce_revoked(db)
    return [ClaimKey(row.id, row.updated_at) for row in rows]


# Built once, because it runs often: building it takes as long as running it.
_OF_DISPATCHER = text("SELECT delivery_id, claimed_at FROM revoked_claims WHERE claim_id = :id")


def of_dispatcher(db: Db, dispatcher_id: str) -> list[ClaimKey]:
    """Return the revoked claims of a dispatcher that it has not acknowledged."""
    return [ClaimKey(*row) for row in db.execute(_OF_DISPATCHER, {"id": dispatcher_id})]


def acknowledge(db: Db, claims: Sequence[ClaimKey]) -> None:
    """Confirm that this process will start none of these."""
    for some in pieces(claims):
        heard = tuple_(RevokedClaim.delivery_id, RevokedClaim.claimed_at).in_(some)
        db.execute(delete(RevokedClaim).where(heard))


def are_heard(db: Db, claims: Sequence[ClaimKey]) -> bool:
    """Return whether every dispatcher knows that its claims are revoked, or is gone."""
    return not _is_any(db, RevokedClaim.delivery_id, RevokedClaim.claimed_at, claims)


def are_over(db: Db, claims: Sequence[ClaimKey]) -> bool:
    """Return whether all these claims have ended: sent, failed or given up."""
    sending = Delivery.status == DeliveryStatus.SENDING
    return not _is_any(db, Delivery.id, Delivery.updated_at, claims, sending)


def _is_any(
    db: Db,
    delivery_id: InstrumentedAttribute[str],
    claimed_at: InstrumentedAttribute[int],
    claims: Sequence[ClaimKey],
    *conditions: ColumnElement[bool],
) -> bool:
    key = tuple_(delivery_id, claimed_at)
    return any(
        db.scalar(select(exists().where(key.in_(some), *conditions))) for some in pieces(claims)
    )
