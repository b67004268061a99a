"""Broadcasts: fetch, pause, resume, retry, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, select, update
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import defer

from service import ids
from service.core import fallbacks, outbox, paging, samples, sessions, signals, usages, ways
from service.core.accounts import Accounts
from service.core.deliveries import due_ways, retries
from service.core.deliveries.retries import LeftOut
from service.database import milliseconds
from service.errors import ConflictError, InvalidError, NotFoundError
from service.models import (
    UNFINISHED,
    Broadcast,
    BroadcastAttachment,
    BroadcastStatus,
    DeliveryStatus,
    EventType,
)


def get(
    db: Db,
    client_id: str,
    broadcast_id: str,
    *,
    within: str | None = None,
    deleted: bool = False,
) -> Broadcast:
    """Return a client's broadcast; raises NotFoundError.

    With `within`, the id of a session, only its broadcasts are found. With `deleted`, only deleted
    ones are found.
    """
    mine = _mine(client_id, within, deleted=deleted).where(Broadcast.id == broadcast_id)
    broadcast = db.scalar(mine) if ids.is_id(broadcast_id) else None
    if broadcast is None:
        raise NotFoundError("broadcast", broadcast_id)
    return broadcast


def page(
    db: Db,
    client_id: str,
    request: paging.PageRequest,
    *,
    within: str | None = None,
    deleted: bool = False,
) -> paging.Page[Broadcast]:
    """Return one page of a client's broadcasts, or only those of one session.

    Recipients and messages are not loaded: see `core.heads`.
    """
    mine = _mine(client_id, within, deleted=deleted)
    light = mine.options(*map(defer, (Broadcast.to, Broadcast.message)))
    return paging.fetch(db, light, Broadcast.id, request)


def delete(
    db: Db, client_id: str, broadcast_id: str, *, now: int, within: str | None = None
) -> Broadcast:
    """Delete a broadcast; deliveries that are not sent yet are cancelled.

    The row stays, hidden, until its deliveries are final and the operator purges it.
    """
    broadcast = get(db, client_id, broadcast_id, within=within)
    due_ways.hasten(db, broadcast, after=now, now=now)
    values: dict[str, Any] = {"deleted_at": now, "sample": None}
    if broadcast.status in UNFINISHED:
        values["status"] = BroadcastStatus.CANCELLED
    return _move(db, broadcast, None, values, now=now)


def pause(
    db: Db, client_id: str, broadcast_id: str, *, now: int, within: str | None = None
) -> Broadcast:
    """Stop sending until `resume`; raises ConflictError unless it is sending.

    A broadcast held for its template no longer resumes by itself.
    """
    values = {"status": BroadcastStatus.PAUSED, "reason": "Paused by the client."}
    broadcast = get(db, client_id, broadcast_id, within=within)
    waits = broadcast.status == BroadcastStatus.PAUSED and broadcast.waits_for
    expected = BroadcastStatus.PAUSED if waits else BroadcastStatus.SENDING
    _move(db, broadcast, expected, values, now=now)
    outbox.tell_broadcast(db, broadcast, EventType.BROADCAST_PAUSED, now=now)
    return broadcast


def resume(
    db: Db, client_id: str, broadcast_id: str, *, now: int, within: str | None = None
) -> Broadcast:
    """Continue after a pause; raises ConflictError unless it is paused.

    After a sample it continues with the other recipients.
    """
    values: dict[str, Any] = {"status": BroadcastStatus.SENDING, "reason": None}
    broadcast = get(db, client_id, broadcast_id, within=within)
    if samples.is_sent(db, broadcast):
        values["sample"] = None
    due_ways.hasten(db, broadcast, after=broadcast.expires_at - 1, now=now)
    return _move(db, broadcast, BroadcastStatus.PAUSED, values, now=now)


class Retried(NamedTuple):
    """A broadcast after a retry, and how many deliveries that left out."""

    broadcast: Broadcast
    left_out: LeftOut


def retry(  # noqa: PLR0913 - three of them say whose broadcast, two what and when
    db: Db,
    client_id: str,
    broadcast_id: str,
    statuses: Sequence[DeliveryStatus],
    *,
    codes: Sequence[str] = (),
    session_id: str = "",
    expires_at: int | None = None,
    accounts: Accounts,
    now: int,
    within: str | None = None,
) -> Retried:
    """Send failed or uncertain deliveries again, with new attempts and a new expiry.

    `codes` limits this to deliveries with one of these codes. With another session's id, that
    session sends them, as one more way. Without `expires_at` the broadcast expires in
    `EXPIRE_AFTER`, unless its present expiry is later. People who opted out are left out, and so
    are people whom the channel does not reach. Raises ConflictError if nothing is left to send, the
    broadcast was cancelled or its session is gone, UnknownSessionError, and InvalidError for a
    session that cannot send the message.
    """
    broadcast = get(db, client_id, broadcast_id, within=within)
    if broadcast.session_id is None:
        raise ConflictError("The session of this broadcast was deleted. Create a new broadcast.")
    if broadcast.status == BroadcastStatus.CANCELLED:
        raise ConflictError("A cancelled broadcast cannot be retried. Create a new one.")
    if expires_at is not None and expires_at <= now:
        raise InvalidError(errors={"expires_at": ["Must be in the future."]})
    _check_files(db, broadcast)
    if session_id in {"", broadcast.session_id}:
        way = None
        counts = [retries.requeue(db, broadcast, each, codes=codes, now=now) for each in statuses]
    else:
        session = sessions.choose(db, client_id, session_id)
        way = fallbacks.add(db, broadcast, session, accounts=accounts)
        counts = [
            retries.pass_on(db, broadcast, way, each, codes=codes, now=now) for each in statuses
        ]
        retries.note_way(db, broadcast, way)
    left = retries.left_out(db, broadcast, way, statuses, codes=codes)
    if not sum(counts):
        raise ConflictError(_nobody(left, has_codes=bool(codes)))
    if broadcast.closed_at is not None:
        usages.note(db, client_id, now=now, broadcasts=1)
    db.refresh(broadcast)
    later = max(broadcast.expires_at, now + milliseconds(accounts.settings.expire_after))
    return Retried(_move(db, broadcast, None, {"expires_at": expires_at or later}, now=now), left)


def _nobody(left: LeftOut, *, has_codes: bool) -> str:
    """Return why a retry has nobody to send to."""
    reason = "No delivery of this broadcast can be retried. Only failed and uncertain ones can,"
    reason += " except to people who have opted out."
    if left.unreachable_by_channel:
        reason += (
            f" {left.unreachable_by_channel:,} have an address that the channel of the session does"
            " not take, such as a WhatsApp user id."
        )
    return f"{reason} GET /broadcast/{{id}}/report lists the codes." if has_codes else reason


def _check_files(db: Db, broadcast: Broadcast) -> None:
    """Raise ConflictError if a file of the message has been deleted."""
    kept = select(BroadcastAttachment.attachment_id).where(
        BroadcastAttachment.broadcast_id == broadcast.id
    )
    needed = {media["attachment_id"] for media in broadcast.content["media"]}
    if needed - set(db.scalars(kept)):
        raise ConflictError("An attachment of this broadcast was deleted. Create a new broadcast.")


def _mine(client_id: str, within: str | None, *, deleted: bool) -> Select[Broadcast]:
    mine = select(Broadcast).where(Broadcast.client_id == client_id, is_shown(deleted=deleted))
    return mine if within is None else mine.where(Broadcast.session_id == within)


def is_shown(*, deleted: bool) -> ColumnElement[bool]:
    """Return the condition for broadcasts that clients see, deleted or not."""
    is_wanted = Broadcast.deleted_at.is_not(None) if deleted else Broadcast.deleted_at.is_(None)
    return and_(Broadcast.parent_id.is_(None), is_wanted)


def _move(
    db: Db,
    broadcast: Broadcast,
    expected: BroadcastStatus | None,
    values: dict[str, Any],
    *,
    now: int,
) -> Broadcast:
    """Change a broadcast with one guarded UPDATE and reload it; raises ConflictError."""
    guard = [Broadcast.id == broadcast.id, Broadcast.deleted_at.is_(None)]
    guard.append(Broadcast.status == (expected or broadcast.status))
    changed = (
        update(Broadcast)
        .where(*guard)
        .values(**values, waits_for=None, updated_at=now, version=Broadcast.version + 1)
        .returning(Broadcast.id)
        .execution_options(synchronize_session=False)
    )
    if db.execute(changed).one_or_none() is None:
        wrong = f"{broadcast.status}, not {expected}" if expected else "changing. Try again"
        raise ConflictError(f"This broadcast is {wrong}.")
    db.refresh(broadcast)
    ways.align(db, broadcast)
    signals.announce(db, broadcast, *ways.of(db, broadcast))
    return broadcast
