"""The verbs of broadcasts: accepted whole or not at all, then told how they fare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import undefer

from service import ids
from service.channels.base import BlockedError, Driver, UnsupportedContentError
from service.core import content, deliveries, groups, paging, recipients, sessions, signals
from service.core.accounts import Accounts
from service.database import now_ms
from service.errors import ConflictError, InvalidError, NotFoundError
from service.models import (
    UNFINISHED,
    Broadcast,
    BroadcastAttachment,
    BroadcastStatus,
    Delivery,
    DeliveryStatus,
    RecipientChunk,
    SendType,
    Session,
)

SHOWN = 1_000
"""The most recipients shown in `to`, `sent`, `pending` and `failed` of one broadcast."""

SHOWN_IN_LISTS = 100
"""The same, where a broadcast is one of many."""

_MOST_GROUPS = 1_000
"""The most groups that one broadcast names: each of them is looked up."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client asks for; moments in milliseconds of Unix time.

    `digest` is a digest of the whole request: an idempotency key may be used again only with it.
    `people` is what `to` says: it is read when an order is made, and so before any transaction is
    open, as a million recipients take a second.
    """

    session_id: str
    send_type: str
    to: str | list[str]
    message: dict[str, Any]
    send_at: int | None = None
    expires_at: int | None = None
    idempotency_key: str | None = None
    digest: str = ""
    people: recipients.Recipients = field(init=False)

    def __post_init__(self) -> None:
        """Read `to`."""
        is_group = self.send_type == SendType.GROUP
        read = recipients.parse_groups if is_group else recipients.parse
        object.__setattr__(self, "people", read(self.to))


@dataclass(frozen=True, slots=True)
class Arrays:
    """The recipients of a broadcast by state, in the order of `to`, the first ones of many.

    `held` is why its session cannot send, while it waits for that.
    """

    sent: list[str]
    pending: list[str]
    failed: list[str]
    held: str | None


_ARRAYS = {
    "sent": (DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ),
    "pending": (DeliveryStatus.QUEUED, DeliveryStatus.SENDING, DeliveryStatus.UNCERTAIN),
    "failed": (DeliveryStatus.FAILED, DeliveryStatus.CANCELLED),
}


def create(db: Db, client_id: str, order: Order, *, accounts: Accounts, now: int) -> Broadcast:
    """Accept a broadcast: check all that can be checked, freeze its recipients, store one row.

    Raises InvalidError with every fault found in one go, UnknownSessionError, ConflictError. A
    repeat under the same idempotency key returns the broadcast of the first time.
    """
    if earlier := _earlier(db, client_id, order):
        return earlier
    settings = accounts.settings
    session = sessions.choose(db, client_id, order.session_id)
    resolved: dict[str, Any] = {}
    people: Sequence[str] = ()
    expires_at = now
    errors: dict[str, Any] = {}
    with _noting(errors):
        resolved = content.resolve(db, client_id, order.message)
    with _noting(errors):
        people = _recipients(db, client_id, order, settings.max_recipients)
    with _noting(errors):
        expires_at = _expiry(order, now, settings.expire_after)
    if errors:
        raise InvalidError(errors=errors)
    broadcast = Broadcast(
        id=ids.new_broadcast(),
        client_id=client_id,
        session_id=session.id,
        send_type=order.send_type,
        message=order.message,
        content=resolved,
        total=len(people),
        expires_at=expires_at,
        send_at=order.send_at,
        status=_first_status(order, now),
        idempotency_key=order.idempotency_key,
        request_digest=order.digest,
        created_at=now,
        updated_at=now,
        parts=1,
    )
    broadcast.to, broadcast.to_truncated = _shown(order.to, people)
    driver = _open(accounts, session)
    if order.send_type == SendType.GROUP:
        _check_groups(driver, people)
    broadcast.parts = _plan(accounts, driver, broadcast)
    return _store(db, broadcast, people, order, settings.fanout_chunk)


def get(db: Db, client_id: str, broadcast_id: str) -> Broadcast:
    """Return a client's broadcast; raises NotFoundError."""
    mine = _mine(client_id).where(Broadcast.id == broadcast_id)
    broadcast = db.scalar(mine) if ids.is_id(broadcast_id) else None
    if broadcast is None:
        raise NotFoundError("broadcast", broadcast_id)
    return broadcast


def page(db: Db, client_id: str, request: paging.PageRequest) -> paging.Page[Broadcast]:
    """Return one page of a client's broadcasts."""
    return paging.fetch(db, _mine(client_id), Broadcast.id, request)


def delete(db: Db, client_id: str, broadcast_id: str, *, now: int) -> Broadcast:
    """Delete a broadcast; what was not handed over yet is cancelled.

    The row stays, hidden, until its deliveries under way are accounted for and the operator
    purges it.
    """
    broadcast = get(db, client_id, broadcast_id)
    values: dict[str, Any] = {"deleted_at": now}
    if broadcast.status in UNFINISHED:
        values["status"] = BroadcastStatus.CANCELLED
    return _move(db, broadcast, None, values, now=now)


def pause(db: Db, client_id: str, broadcast_id: str, *, now: int) -> Broadcast:
    """Stop handing deliveries over, until `resume`; raises ConflictError unless it is sending."""
    values = {"status": BroadcastStatus.PAUSED, "reason": "Paused by the client."}
    return _move(db, get(db, client_id, broadcast_id), BroadcastStatus.SENDING, values, now=now)


def resume(db: Db, client_id: str, broadcast_id: str, *, now: int) -> Broadcast:
    """Go on after a pause; raises ConflictError unless it is paused."""
    values = {"status": BroadcastStatus.SENDING, "reason": None}
    return _move(db, get(db, client_id, broadcast_id), BroadcastStatus.PAUSED, values, now=now)


def retry(  # noqa: PLR0913 - three of them say whose broadcast, two what and when
    db: Db,
    client_id: str,
    broadcast_id: str,
    statuses: Iterable[DeliveryStatus],
    *,
    expire_after: float,
    now: int,
) -> Broadcast:
    """Send again what failed or is uncertain, with a new set of attempts and a new expiry.

    Raises ConflictError where nothing is in such a state, the broadcast was cancelled, or its
    session is gone.
    """
    broadcast = get(db, client_id, broadcast_id)
    if broadcast.session_id is None:
        raise ConflictError("The session of this broadcast was deleted: it cannot send any more.")
    if broadcast.status == BroadcastStatus.CANCELLED:
        raise ConflictError("A cancelled broadcast cannot be retried: create it anew.")
    _check_files(db, broadcast)
    again = sum(deliveries.requeue(db, broadcast_id, status, now=now) for status in statuses)
    if not again:
        raise ConflictError("No delivery of this broadcast is in a state that can be retried.")
    db.refresh(broadcast)
    values: dict[str, Any] = {"expires_at": max(broadcast.expires_at, now + _ms(expire_after))}
    return _move(db, broadcast, None, values, now=now)


def _check_files(db: Db, broadcast: Broadcast) -> None:
    """Raise ConflictError where a file of the message was deleted since it was sent."""
    kept = select(BroadcastAttachment.attachment_id).where(
        BroadcastAttachment.broadcast_id == broadcast.id
    )
    needed = {media["attachment_id"] for media in broadcast.content["media"]}
    if needed - set(db.scalars(kept)):
        raise ConflictError("An attachment of this broadcast was deleted: create it anew.")


def arrays(db: Db, broadcasts: Sequence[Broadcast], limit: int) -> dict[str, Arrays]:
    """Return the recipients of broadcasts by state, at most `limit` in each array."""
    held = _held(db, broadcasts)
    return {
        broadcast.id: Arrays(
            held=held.get(broadcast.id),
            **{
                name: _in_state(db, broadcast, name, limit)
                for name in ("sent", "pending", "failed")
            },
        )
        for broadcast in broadcasts
    }


def counts(broadcast: Broadcast) -> dict[str, int]:
    """Return the exact totals; `pending` is all that is accepted and not final."""
    final = {
        "sent": broadcast.sent,
        "delivered": broadcast.delivered,
        "read": broadcast.read,
        "failed": broadcast.failed,
        "cancelled": broadcast.cancelled,
    }
    pending = broadcast.total - sum(final.values())
    return {"total": broadcast.total, "pending": pending, **final, "uncertain": broadcast.uncertain}


def _mine(client_id: str) -> Select[Broadcast]:
    return select(Broadcast).where(Broadcast.client_id == client_id, Broadcast.deleted_at.is_(None))


def _held(db: Db, broadcasts: Sequence[Broadcast]) -> dict[str, str | None]:
    """Return why the sessions of the broadcasts that are sending cannot send, where they cannot."""
    waiting = {b.id: b.session_id for b in broadcasts if b.status == BroadcastStatus.SENDING}
    held = select(Session.id, Session.hold_reason).where(
        Session.id.in_(set(waiting.values())), Session.held_until > now_ms()
    )
    reasons = {row.id: row.hold_reason for row in db.execute(held)} if waiting else {}
    return {each: reasons.get(session_id or "") for each, session_id in waiting.items()}


def _in_state(db: Db, broadcast: Broadcast, array: str, limit: int) -> list[str]:
    """Fetch the first recipients of one array; the counters tell where there is nothing to fetch.

    One look per status, each a short walk along an index, whatever the size of the broadcast.
    """
    tally = counts(broadcast)
    tally["failed"] += tally["cancelled"]
    if not (tally[array] or (array == "sent" and tally["delivered"] + tally["read"])):
        return []
    rows: list[tuple[str, str]] = []
    for status in _ARRAYS[array]:
        in_state = (
            select(Delivery.id, Delivery.recipient)
            .where(Delivery.broadcast_id == broadcast.id, Delivery.status == status)
            .where(deliveries.among(broadcast))
            .order_by(Delivery.id)
            .limit(limit)
        )
        rows.extend((row.id, row.recipient) for row in db.execute(in_state))
    return [recipient for _, recipient in sorted(rows)[:limit]]


def _move(
    db: Db,
    broadcast: Broadcast,
    expected: BroadcastStatus | None,
    values: dict[str, Any],
    *,
    now: int,
) -> Broadcast:
    """Change a broadcast by one guarded UPDATE and read it again; raises ConflictError."""
    guard = [Broadcast.id == broadcast.id, Broadcast.deleted_at.is_(None)]
    guard.append(Broadcast.status == (expected or broadcast.status))
    changed = (
        update(Broadcast)
        .where(*guard)
        .values(**values, updated_at=now, version=Broadcast.version + 1)
        .returning(Broadcast.id)
        .execution_options(synchronize_session=False)
    )
    if db.execute(changed).one_or_none() is None:
        wanted = f", it would have to be {expected}" if expected else " and changing: try again"
        raise ConflictError(f"This broadcast is {broadcast.status}{wanted}.")
    db.refresh(broadcast)
    signals.announce(db, broadcast)
    return broadcast


def _earlier(db: Db, client_id: str, order: Order) -> Broadcast | None:
    """Return the broadcast that this idempotency key has already made."""
    if not order.idempotency_key:
        return None
    same_key = (
        select(Broadcast)
        .options(undefer(Broadcast.request_digest))
        .where(Broadcast.client_id == client_id, Broadcast.idempotency_key == order.idempotency_key)
    )
    broadcast = db.scalar(same_key)
    if broadcast is not None and broadcast.request_digest != order.digest:
        raise ConflictError("This Idempotency-Key was used with another request: choose a new one.")
    return broadcast


@contextmanager
def _noting(errors: dict[str, Any]) -> Iterator[None]:
    """Note what is wrong, and go on to the next check."""
    try:
        yield
    except InvalidError as error:
        errors.update(error.errors)


def _recipients(db: Db, client_id: str, order: Order, most: int) -> Sequence[str]:
    """Return whom an order reaches, each once; raises InvalidError naming every bad entry."""
    is_group = order.send_type == SendType.GROUP
    people = order.people
    if people.bad:
        errors: dict[str, Any] = {}
        if people.bad_count > len(people.bad):
            errors["to"] = [f"{people.bad_count} entries are not right; the first of them follow."]
        errors |= {f"to.{bad.position}": [f"{bad.entry!r} {bad.reason}."] for bad in people.bad}
        raise InvalidError(errors=errors)
    unique = _members(db, client_id, people.unique) if is_group else people.unique
    if not unique:
        raise InvalidError(errors={"to": ["Names nobody: give at least one recipient."]})
    if len(unique) > most:
        reason = f"Has {len(unique)} recipients; the most this service takes is {most}"
        raise InvalidError(errors={"to": [f"{reason} (MAX_RECIPIENTS)."]})
    return unique


def _members(db: Db, client_id: str, entries: Sequence[str]) -> Sequence[str]:
    """Put the members of contact groups in the place of the groups; WhatsApp groups stay."""
    if len(entries) > _MOST_GROUPS:
        raise InvalidError(errors={"to": [f"Names more than {_MOST_GROUPS} groups."]})
    people: dict[str, None] = {}
    unknown: list[str] = []
    for entry in entries:
        if recipients.is_whatsapp_group(entry):
            people[entry] = None
            continue
        try:
            people |= dict.fromkeys(groups.phones(db, client_id, entry))
        except InvalidError as error:
            unknown += error.errors["to"]
    if unknown:
        raise InvalidError(errors={"to": unknown})
    return tuple(people)


def _shown(to: str | list[str], people: Sequence[str]) -> tuple[str | list[str], bool]:
    """Return `to` as given, or its first recipients where it is too long to be given back."""
    if recipients.count(to) <= SHOWN:
        return to, False
    head = list(people[:SHOWN])
    return (",".join(head) if isinstance(to, str) else head), True


def _expiry(order: Order, now: int, expire_after: float) -> int:
    start = max(now, order.send_at or now)
    if order.expires_at is None:
        return start + _ms(expire_after)
    if order.expires_at <= start:
        raise InvalidError(errors={"expires_at": ["Must be later than the time of sending."]})
    return order.expires_at


def _first_status(order: Order, now: int) -> BroadcastStatus:
    later = order.send_at is not None and order.send_at > now
    return BroadcastStatus.SCHEDULED if later else BroadcastStatus.SENDING


def _check_groups(driver: Driver, people: Sequence[str]) -> None:
    """Raise InvalidError for WhatsApp groups on a channel that only reaches telephones."""
    if driver.reaches_groups:
        return
    for position, recipient in enumerate(people):
        if recipients.is_whatsapp_group(recipient):
            reason = f"{recipient!r}: the channel {driver.name} does not reach WhatsApp groups."
            raise InvalidError(errors={f"to.{position}": [reason]})


def _open(accounts: Accounts, session: Session) -> Driver:
    """Return a session's driver; raises InvalidError with what keeps it from being used."""
    try:
        return accounts.open(session)
    except BlockedError as error:
        raise InvalidError(errors={"session_id": [error.reason]}) from error


def _plan(accounts: Accounts, driver: Driver, broadcast: Broadcast) -> int:
    """Ask the channel for its parts; raises InvalidError for what it cannot carry."""
    try:
        return len(driver.plan(accounts.content(broadcast)))
    except UnsupportedContentError as error:
        raise InvalidError(errors={error.field: [error.reason]}) from error
    except BlockedError as error:
        raise InvalidError(errors={"session_id": [error.reason]}) from error


def _store(
    db: Db, broadcast: Broadcast, people: Sequence[str], order: Order, chunk: int
) -> Broadcast:
    """Store a broadcast with its frozen recipients, or return that of a rival with the same key."""
    try:
        with db.begin_nested():
            db.add(broadcast)
            db.flush()
            used = {media["attachment_id"] for media in broadcast.content["media"]}
            files = ({"attachment_id": each} for each in used)
            _insert(db, BroadcastAttachment, files, broadcast.id)
    except IntegrityError as error:
        if earlier := _earlier(db, broadcast.client_id, order):
            return earlier
        what = "The session or an attachment of this broadcast was deleted just now."
        raise ConflictError(what) from error
    frozen = (
        {"start": start, "recipients": ",".join(people[start : start + chunk])}
        for start in range(0, len(people), chunk)
    )
    _insert(db, RecipientChunk, frozen, broadcast.id)
    signals.announce(db, broadcast)
    return broadcast


def _insert(db: Db, table: type, rows: Iterable[dict[str, Any]], broadcast_id: str) -> None:
    if values := [{"broadcast_id": broadcast_id, **row} for row in rows]:
        db.execute(insert(table), values)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
