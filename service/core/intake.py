"""Intake: validates a request for a broadcast and stores it, completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import undefer

from service import ids
from service.channels.base import BlockedError, Driver, UnsupportedContentError
from service.config import Settings
from service.core import content, fingerprints, groups, recipients, sessions, signals
from service.core.accounts import Accounts
from service.core.recipients import Recipients
from service.core.variables import MOST_BYTES
from service.database import milliseconds
from service.errors import ConflictError, InvalidError, NotFoundError
from service.models import (
    Broadcast,
    BroadcastAttachment,
    BroadcastStatus,
    RecipientChunk,
    SendType,
    Session,
)

P = ParamSpec("P")
Result = TypeVar("Result")

_MOST_GROUPS = 1_000
"""The most groups that a broadcast may name: each one is looked up."""


@dataclass(frozen=True, slots=True)
class BroadcastRequest:
    """A client's request for a broadcast. Times are Unix milliseconds.

    `people` are parsed before a transaction is open: a million take a second.
    `fingerprint`: an idempotency key may only be reused with the same one.
    `within` is set for a session token: the broadcast may then use only objects of that session.
    """

    session_id: str
    people: Recipients
    message: dict[str, Any]
    send_at: int | None = None
    expires_at: int | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""
    within: str | None = None


def accept(
    db: Db, client_id: str, order: BroadcastRequest, *, accounts: Accounts, now: int
) -> Broadcast:
    """Accept a broadcast: validate everything, freeze the recipients, store one row.

    Raises InvalidError with all errors at once, UnknownSessionError, ConflictError. A repeated
    request with the same idempotency key returns the first broadcast.
    """
    if earlier := _earlier(db, client_id, order):
        return earlier
    broadcast, reached = prepare(db, client_id, order, accounts=accounts, now=now)
    return _store(db, broadcast, reached, order, accounts.settings.fanout_chunk)


def prepare(
    db: Db, client_id: str, order: BroadcastRequest, *, accounts: Accounts, now: int
) -> tuple[Broadcast, Recipients]:
    """Build the broadcast of a request, without storing it, and its recipients.

    Raises InvalidError with all errors at once, and UnknownSessionError.
    """
    settings = accounts.settings
    session = sessions.choose(db, client_id, order.session_id)
    faults: dict[str, Any] = {}
    driver = _noted(faults, _open, accounts, session)
    resolved = _noted(faults, _resolved, db, client_id, order, settings)
    reached = _noted(faults, _reached, db, client_id, order, driver, settings.max_recipients)
    expires_at = _noted(faults, _expiry, order, now, settings.expire_after)
    parts = driver and resolved and _noted(faults, _plan, accounts, driver, resolved)
    if faults or not (resolved and reached and expires_at and parts):
        raise InvalidError(errors=faults)
    broadcast = Broadcast(
        id=ids.new_broadcast(),
        client_id=client_id,
        session_id=session.id,
        send_type=order.people.send_type,
        to=order.people.shown,
        to_truncated=order.people.is_truncated,
        message=order.message,
        content=resolved,
        parts=parts,
        total=len(reached.unique),
        expires_at=expires_at,
        send_at=order.send_at,
        status=_first_status(order, now),
        idempotency_key=order.idempotency_key,
        request_digest=order.fingerprint,
        created_at=now,
        updated_at=now,
    )
    return broadcast, reached


def _earlier(db: Db, client_id: str, order: BroadcastRequest) -> Broadcast | None:
    """Return the broadcast that this idempotency key has already created."""
    if not order.idempotency_key:
        return None
    same_key = (
        select(Broadcast)
        .options(undefer(Broadcast.request_digest))
        .where(Broadcast.client_id == client_id, Broadcast.idempotency_key == order.idempotency_key)
    )
    broadcast = db.scalar(same_key)
    if broadcast is not None:
        _check_same(broadcast, order)
    return broadcast


def _check_same(broadcast: Broadcast, order: BroadcastRequest) -> None:
    """Raise ConflictError if the key was used with a different request."""
    if order.within not in {None, broadcast.session_id}:
        raise ConflictError("This Idempotency-Key was used with another session. Use a new key.")
    differing = fingerprints.differences(broadcast.request_digest, order.fingerprint)
    if not differing:
        return
    made = f"This Idempotency-Key has already created broadcast {broadcast.id!r}"
    reason = f"Differs from the request that created broadcast {broadcast.id!r}."
    raise ConflictError(
        f"{made}, and this request differs in {', '.join(differing)}. Nothing was stored."
        " To replace that broadcast, delete it first. To send both, use another key.",
        errors={"Idempotency-Key": [f"{made}."]}
        | {name: [reason] for name in differing if name != fingerprints.UNKNOWN},
    )


def _noted(
    faults: dict[str, Any], check: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
) -> Result | None:
    """Run a check and collect its errors, so that later checks still run."""
    try:
        return check(*args, **kwargs)
    except InvalidError as error:
        faults.update(error.errors)
        return None


def _resolved(
    db: Db, client_id: str, order: BroadcastRequest, settings: Settings
) -> dict[str, Any]:
    """Look up the objects that a message names, and check its size."""
    message = order.message
    faults = {}
    if len(message.get("text") or "") > settings.max_text_chars:
        faults["message.text"] = [f"Longer than {settings.max_text_chars} characters."]
    if len(message.get("attachments") or ()) > settings.max_attachments:
        faults["message.attachments"] = [f"More than {settings.max_attachments} attachments."]
    # The message is stored as given, including fields that are not sent.
    size = len(json.dumps(message, ensure_ascii=False, default=str).encode())
    if size > settings.max_message_bytes:
        most = f"{settings.max_message_bytes:,} bytes as JSON (MAX_MESSAGE_BYTES)"
        faults["message"] = [f"Must have at most {most}; it has {size:,}."]
    if faults:
        raise InvalidError(errors=faults)
    return content.resolve(db, client_id, message, within=order.within)


def _reached(
    db: Db, client_id: str, order: BroadcastRequest, driver: Driver | None, most: int
) -> Recipients:
    """Return the unique recipients of a request; raises InvalidError for every bad entry."""
    people = order.people
    if people.count > most:
        reason = f"Must have at most {most} entries (MAX_RECIPIENTS)."
        raise InvalidError(errors={"to": [reason]})
    if people.bad:
        raise InvalidError(errors=_bad_entries(people))
    if people.variables and people.variables.size > MOST_BYTES:
        reason = f"Has more than {MOST_BYTES:,} bytes of variables. Send several broadcasts."
        raise InvalidError(errors={"to": [reason]})
    if people.send_type == SendType.GROUP:
        people = _members(db, client_id, order, driver)
    if not people.unique:
        raise InvalidError(errors={"to": ["Must name at least one recipient."]})
    if (count := len(people.unique)) > most:
        reason = f"Has {count} recipients. At most {most} are allowed"
        raise InvalidError(errors={"to": [f"{reason} (MAX_RECIPIENTS)."]})
    return people


def _bad_entries(people: Recipients) -> dict[str, Any]:
    faults = {f"to.{bad.position}": [f"{bad.entry!r} {bad.reason}."] for bad in people.bad}
    if people.bad_count == len(people.bad):
        return faults
    reason = (
        f"More than {len(people.bad):,} entries are not valid. These are the first ones; entries"
        f" after number {people.count:,} were not checked."
    )
    return {"to": [reason]} | faults


def _members(db: Db, client_id: str, order: BroadcastRequest, driver: Driver | None) -> Recipients:
    """Replace contact groups with their members; keep WhatsApp groups.

    All members of a group get its variables. Raises InvalidError for unknown groups, and for
    WhatsApp groups that the channel cannot reach.
    """
    people = order.people
    if len(people.unique) > _MOST_GROUPS:
        raise InvalidError(errors={"to": [f"Names more than {_MOST_GROUPS} groups."]})
    reached: dict[str, int] = {}
    wrong: dict[str, list[str]] = {}
    for place, entry in enumerate(people.unique):
        if not recipients.is_whatsapp_group(entry):
            for phone in _noted(wrong, _phones, db, client_id, entry, order.within) or ():
                reached.setdefault(phone, place)
        elif driver and not driver.reaches_groups:
            reason = f"{entry!r}: the channel {driver.name} does not reach WhatsApp groups."
            wrong[entry] = [reason]
        else:
            reached[entry] = place
    if wrong:
        places = people.places()
        faults = {f"to.{places[entry]}": reasons for entry, reasons in wrong.items()}
        raise InvalidError(errors=faults)
    brought = people.variables and people.variables.chosen([*reached.values()])
    return replace(people, unique=tuple(reached), rows=(), variables=brought)


def _phones(db: Db, client_id: str, group_id: str, within: str | None) -> Sequence[str]:
    """Return the phones of a group's contacts; raises InvalidError under the group's id."""
    try:
        return groups.phones(db, client_id, group_id, within=within)
    except NotFoundError as error:
        raise InvalidError(errors={group_id: [error.message]}) from error


def _expiry(order: BroadcastRequest, now: int, expire_after: float) -> int:
    start = max(now, order.send_at or now)
    if order.expires_at is None:
        return start + milliseconds(expire_after)
    if order.expires_at <= start:
        raise InvalidError(errors={"expires_at": ["Must be later than `send_at` and than now."]})
    return order.expires_at


def _first_status(order: BroadcastRequest, now: int) -> BroadcastStatus:
    later = order.send_at is not None and order.send_at > now
    return BroadcastStatus.SCHEDULED if later else BroadcastStatus.SENDING


def _open(accounts: Accounts, session: Session) -> Driver:
    """Return a session's driver; raises InvalidError if its settings cannot be used."""
    try:
        return accounts.open(session)
    except BlockedError as error:
        raise InvalidError(errors={"session_id": [error.reason]}) from error


def _plan(accounts: Accounts, driver: Driver, resolved: dict[str, Any]) -> int:
    """Count the message's parts on the channel; raises InvalidError for unsupported content."""
    try:
        return len(driver.plan(accounts.restored(resolved)))
    except UnsupportedContentError as error:
        raise InvalidError(errors={error.field: [error.reason]}) from error
    except BlockedError as error:
        raise InvalidError(errors={"session_id": [error.reason]}) from error


def _store(
    db: Db, broadcast: Broadcast, people: Recipients, order: BroadcastRequest, chunk: int
) -> Broadcast:
    """Store a broadcast, or return the one that another request created with the same key."""
    try:
        with db.begin_nested():
            db.add(broadcast)
            db.flush()
            hold_files(db, broadcast)
    except IntegrityError as error:
        if earlier := _earlier(db, broadcast.client_id, order):
            return earlier
        what = "The session or an attachment of this broadcast has just been deleted."
        raise ConflictError(what) from error
    freeze(db, broadcast.id, people, chunk)
    signals.announce(db, broadcast)
    return broadcast


def hold_files(db: Db, broadcast: Broadcast) -> None:
    """Protect the files of a broadcast from deletion while it needs them."""
    used = {media["attachment_id"] for media in broadcast.content["media"]}
    _insert(db, BroadcastAttachment, ({"attachment_id": each} for each in used), broadcast.id)


def freeze(db: Db, broadcast_id: str, people: Recipients, chunk: int) -> None:
    """Store the recipients in chunks of `chunk`, for the fan-out."""
    texts = people.variables.texts if people.variables else ()
    frozen = (
        {
            "start": start,
            "recipients": ",".join(people.unique[start : start + chunk]),
            "variables": "\n".join(texts[start : start + chunk]) or None,
        }
        for start in range(0, len(people.unique), chunk)
    )
    _insert(db, RecipientChunk, frozen, broadcast_id)


def _insert(db: Db, table: type, rows: Iterable[dict[str, Any]], broadcast_id: str) -> None:
    if values := [{"broadcast_id": broadcast_id, **row} for row in rows]:
        db.execute(insert(table), values)
