"""Orders: what a client asks for, accepted whole as a broadcast or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import undefer

from service import ids
from service.channels.base import BlockedError, Driver, UnsupportedContentError
from service.core import content, groups, recipients, reports, sessions, signals
from service.core.accounts import Accounts
from service.database import milliseconds
from service.errors import ConflictError, InvalidError
from service.models import (
    Broadcast,
    BroadcastAttachment,
    BroadcastStatus,
    RecipientChunk,
    SendType,
    Session,
)

_MOST_GROUPS = 1_000
"""The most groups that one broadcast names: each of them is looked up."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client asks for; moments in milliseconds of Unix time.

    `within` is set where a session's own token asks: the broadcast then uses nothing else of the
    client's than that session. `digest` is a digest of the whole request: an idempotency key may
    be used again only with it.
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
    within: str | None = None
    people: recipients.Recipients = field(init=False)

    def __post_init__(self) -> None:
        """Read `to`."""
        is_group = self.send_type == SendType.GROUP
        read = recipients.parse_groups if is_group else recipients.parse
        object.__setattr__(self, "people", read(self.to))


def accept(db: Db, client_id: str, order: Order, *, accounts: Accounts, now: int) -> Broadcast:
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
        resolved = content.resolve(db, client_id, order.message, within=order.within)
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
        _check_groups(driver, people, order.to)
    broadcast.parts = _plan(accounts, driver, broadcast)
    return _store(db, broadcast, people, order, settings.fanout_chunk)


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
    if broadcast is not None and (
        broadcast.request_digest != order.digest or order.within not in {None, broadcast.session_id}
    ):
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
    unique = _members(db, client_id, order) if is_group else people.unique
    if not unique:
        raise InvalidError(errors={"to": ["Names nobody: give at least one recipient."]})
    if len(unique) > most:
        reason = f"Has {len(unique)} recipients; the most this service takes is {most}"
        raise InvalidError(errors={"to": [f"{reason} (MAX_RECIPIENTS)."]})
    return unique


def _members(db: Db, client_id: str, order: Order) -> Sequence[str]:
    """Put the members of contact groups in the place of the groups; WhatsApp groups stay."""
    entries = order.people.unique
    if len(entries) > _MOST_GROUPS:
        raise InvalidError(errors={"to": [f"Names more than {_MOST_GROUPS} groups."]})
    people: dict[str, None] = {}
    unknown: list[str] = []
    for entry in entries:
        if recipients.is_whatsapp_group(entry):
            people[entry] = None
            continue
        try:
            people |= dict.fromkeys(groups.phones(db, client_id, entry, within=order.within))
        except InvalidError as error:
            unknown += error.errors["to"]
    if unknown:
        raise InvalidError(errors={"to": unknown})
    return tuple(people)


def _shown(to: str | list[str], people: Sequence[str]) -> tuple[str | list[str], bool]:
    """Return `to` as given, or its first recipients where it is too long to be given back."""
    if recipients.count(to) <= reports.SHOWN:
        return to, False
    head = list(people[: reports.SHOWN])
    return (",".join(head) if isinstance(to, str) else head), True


def _expiry(order: Order, now: int, expire_after: float) -> int:
    start = max(now, order.send_at or now)
    if order.expires_at is None:
        return start + milliseconds(expire_after)
    if order.expires_at <= start:
        raise InvalidError(errors={"expires_at": ["Must be later than the time of sending."]})
    return order.expires_at


def _first_status(order: Order, now: int) -> BroadcastStatus:
    later = order.send_at is not None and order.send_at > now
    return BroadcastStatus.SCHEDULED if later else BroadcastStatus.SENDING


def _check_groups(driver: Driver, people: Sequence[str], to: Sequence[str]) -> None:
    """Raise InvalidError for WhatsApp groups on a channel that only reaches telephones."""
    if driver.reaches_groups:
        return
    for recipient in filter(recipients.is_whatsapp_group, people):
        place = f"to.{to.index(recipient)}" if recipient in to else "to"
        reason = f"{recipient!r}: the channel {driver.name} does not reach WhatsApp groups."
        raise InvalidError(errors={place: [reason]})


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
