"""Edits: replace the message or recipients of a broadcast before anybody gets it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db

from service.core import (
    dispatchers,
    fallbacks,
    frozen,
    heads,
    intake,
    owned,
    personalisation,
    recipients,
    signals,
    usages,
    uses,
)
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest
from service.core.deliveries import events, gates, invalid
from service.core.intake import Plan
from service.core.numbering import Numbering
from service.core.placeholders import Syntax
from service.core.recipient_lists import Recipients
from service.errors import (
    ConflictError,
    InvalidError,
    JustDeletedError,
    StaleVersionError,
)
from service.models import (
    COUNTED,
    Broadcast,
    BroadcastAttachment,
    BroadcastStatus,
    Delivery,
    OnInvalid,
    RecipientChunk,
    TimelineBucket,
)

_REPLACED = (
    "session_id",
    "message",
    "content",
    "personalisation",
    "parts",
    "expires_at",
    "send_at",
    "sample",
    *("window", "opens_at", "closes_at"),
    "fallback",
)
_RECIPIENTS = (
    *("send_type", "to", "to_truncated", "audience"),
    *("numbering", "countries", "total"),
)

_MERGED = ("revision", "session_id", "send_at", "expires_at", "sample", "window", "fallback")
"""What `merge` reads. `revision` stands for all that only an edit changes."""

_BEGUN = text("""
    SELECT COUNT(*) AS begun, COALESCE(SUM(CASE status WHEN 'sending' THEN 1 END), 0) AS sending
    FROM deliveries WHERE broadcast_id = :broadcast_id
        AND NOT (attempts = 0 AND message_ids IS NULL AND status IN ('queued', 'failed'))
""")
"""Deliveries that may have been sent. Those that failed without an attempt were not."""


def merge(
    broadcast: Broadcast, changes: Mapping[str, Any], *, most: int, within: str | None, now: int
) -> BroadcastRequest:
    """Return the request of a broadcast with these changes applied. Omitted fields stay.

    Call it before a transaction is open: it parses up to `most` recipients. Raises
    StaleVersionError at once; `replace` raises it for later changes.
    """
    owned.check_version(broadcast, changes)
    moved = changes.get("send_at", broadcast.send_at) != broadcast.send_at
    expires_at = changes.get("expires_at", broadcast.expires_at)
    if moved and expires_at == broadcast.expires_at:
        # Keep the same interval between `send_at` and the expiry.
        former = broadcast.send_at or broadcast.created_at
        expires_at += max(now, changes["send_at"]) - former
    to, send_type = (changes.get(name, getattr(broadcast, name)) for name in ("to", "send_type"))
    to = heads.whole(to, broadcast.to, heads.of_to)
    message = changes.get("message", broadcast.message)
    message = heads.whole(message, broadcast.message, heads.of_message)
    personal = personalisation.restore(broadcast.personalisation)
    if not changes.get("personalise", True):
        personal = None
    syntax = Syntax(changes.get("syntax") or (personal.syntax if personal else Syntax.BRACES))
    numbering = Numbering.restore(broadcast.numbering).merged(changes)
    kept = changes.get("fallback", broadcast.fallback)
    skips = changes.get("on_invalid", _on_invalid(broadcast)) == OnInvalid.SKIP
    return BroadcastRequest(
        session_id=changes.get("session_id") or broadcast.session_id or "",
        within=within,
        people=recipients.read(
            to,
            send_type,
            most=most,
            names=personalisation.names(message, syntax, *fallbacks.messages(kept)),
            numbering=numbering,
            most_bad=invalid.MOST if skips else recipients.MOST_BAD,
        ),
        skips_invalid=skips,
        # What was accepted was confirmed, or needed no confirmation.
        confirms_countries=changes.get("confirm_countries", "to" not in changes),
        message=message,
        personalise=changes.get("personalise", personal is not None),
        syntax=syntax,
        variables=changes.get("variables", personal.common if personal else {}),
        send_at=changes.get("send_at", broadcast.send_at),
        expires_at=expires_at,
        sample=changes.get("sample", broadcast.sample),
        window=changes.get("window", broadcast.window),
        fallback=fallbacks.restore(kept),
        audience=broadcast.audience if to == broadcast.to else None,
    )


def _on_invalid(broadcast: Broadcast) -> str:
    return (broadcast.numbering or {}).get("on_invalid") or OnInvalid.REJECT


def plan(
    db: Db, former: Broadcast, order: BroadcastRequest, *, accounts: Accounts, now: int
) -> Plan:
    """Validate a request before `replace` stores it; raises what that raises."""
    _refuse_begun(db, former)
    if _keeps_recipients(former, order) and order.is_personal:
        order = dataclasses.replace(order, people=frozen.read(db, former.id))
    return intake.prepare(db, former.client_id, order, accounts=accounts, now=now)


def replace(  # noqa: PLR0913 - four of them say which broadcast and what, three how and when
    db: Db,
    former: Broadcast,
    order: BroadcastRequest,
    changes: Mapping[str, Any],
    *,
    planned: Plan,
    chunk: int,
    now: int,
) -> Broadcast:
    """Replace a broadcast with `order`, which `merge` built from `former`, as `plan` planned it.

    Raises ConflictError unless it is scheduled, or paused before anybody got it, and
    StaleVersionError if it has changed since it was read.
    """
    broadcast = locked(db, former.id)
    owned.check_version(broadcast, changes)
    if _has_changed(former, broadcast):
        raise StaleVersionError
    _refuse_begun(db, broadcast)
    keeps = _keeps_recipients(broadcast, order)
    made = planned.broadcast
    names = list(_REPLACED)
    size = made.bytes
    if keeps:
        size = broadcast.bytes + _size(made) - _size(broadcast)
    _count(db, broadcast, made, size, now)
    if keeps:
        _refuse_partial(broadcast, made)
    else:
        names += _RECIPIENTS
    for name in names:
        setattr(broadcast, name, getattr(made, name))
    if not keeps:
        _freeze_anew(db, broadcast, planned.people, chunk)
    else:
        gates.look_again(db, Broadcast.id == broadcast.id, now=now)
    if BroadcastStatus.SCHEDULED in {broadcast.status, made.status}:
        broadcast.status, broadcast.reason = made.status, None
    broadcast.revision += 1
    broadcast.updated_at = now
    _hold(db, broadcast)
    fallbacks.renew(db, broadcast, planned.steps)
    signals.announce(db, broadcast)
    return broadcast


def _hold(db: Db, broadcast: Broadcast) -> None:
    """Store a broadcast with its files; raises ConflictError if a file or session was deleted."""
    held = BroadcastAttachment.broadcast_id == broadcast.id
    try:
        db.flush()
        db.execute(delete(BroadcastAttachment).where(held))
        uses.hold_files(db, broadcast)
    except IntegrityError as error:
        raise JustDeletedError from error


def _count(db: Db, broadcast: Broadcast, made: Broadcast, size: int, now: int) -> None:
    """Count the additional use of limits by a changed broadcast."""
    more = {"recipients": max(0, made.total - broadcast.total), "bytes": size - broadcast.bytes}
    usages.note(db, broadcast.client_id, now=now, **more)
    broadcast.bytes = size


def _size(broadcast: Broadcast) -> int:
    """Return the bytes of the messages of a broadcast."""
    return fallbacks.size(broadcast.message, broadcast.fallback)


def locked(db: Db, broadcast_id: str) -> Broadcast:
    """Lock a broadcast against claims, fan-out and other changes.

    It waits for a running claim or fan-out. The lock order is the same as theirs.
    """
    dispatchers.hold_all(db)
    chunks = select(RecipientChunk.start).where(RecipientChunk.broadcast_id == broadcast_id)
    db.execute(chunks.with_for_update()).all()
    wanted = select(Broadcast).where(Broadcast.id == broadcast_id).with_for_update()
    return db.scalars(wanted.execution_options(populate_existing=True)).one()


def _has_changed(former: Broadcast, broadcast: Broadcast) -> bool:
    """Return whether anything that `merge` read has changed since."""
    return any(getattr(former, name) != getattr(broadcast, name) for name in _MERGED)


def _refuse_begun(db: Db, broadcast: Broadcast) -> None:
    if broadcast.deleted_at is not None:
        raise ConflictError("This broadcast has just been deleted.")
    if broadcast.status == BroadcastStatus.SENDING:
        raise ConflictError(
            "This broadcast is being sent. Pause it first; it can change until somebody gets it."
        )
    if broadcast.status not in {BroadcastStatus.SCHEDULED, BroadcastStatus.PAUSED}:
        raise ConflictError(f"This broadcast is {broadcast.status}. Create a new one.")
    begun, sending = db.execute(_BEGUN, {"broadcast_id": broadcast.id}).one()
    if sending:
        raise ConflictError(
            "Some messages of this broadcast were already on their way before the pause. Try again"
            " in a second."
        )
    if begun:
        raise ConflictError(
            f"This broadcast has already been sent to {begun} of {broadcast.total} recipients."
            " Create a new one for the others."
        )


def _keeps_recipients(broadcast: Broadcast, order: BroadcastRequest) -> bool:
    """Return whether the recipients stay the same, if the client saw only the first ones."""
    people = order.people
    # The client must send the whole list, not only the recipients that it was shown.
    if people.is_truncated or not broadcast.to_truncated:
        return False
    return (broadcast.to, broadcast.send_type) == (people.shown, people.send_type)


def _refuse_partial(broadcast: Broadcast, made: Broadcast) -> None:
    """Raise InvalidError if a change needs all recipients, and only the first were sent."""
    for name, what in (("session_id", "session"), ("sample", "sample")):
        if getattr(broadcast, name) != getattr(made, name):
            reason = f"Has only the first recipients. To change the {what}, send all of them."
            raise InvalidError(errors={"to": [reason]})


def _freeze_anew(db: Db, broadcast: Broadcast, people: Recipients, chunk: int) -> None:
    events.forget(db, broadcast.id)
    for table in (RecipientChunk, Delivery, TimelineBucket):
        gone = delete(table).where(table.broadcast_id == broadcast.id)
        db.execute(gone.execution_options(synchronize_session=False))
    for name in COUNTED:
        setattr(broadcast, name, 0)
    frozen.keep(db, broadcast, people, chunk)
    invalid.keep(db, broadcast, people)
