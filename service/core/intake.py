"""Intake: validates a request for a broadcast and stores it, completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import undefer

from service import ids
from service.channels.base import Driver
from service.channels.content import Content, UnsupportedContentError
from service.channels.errors import BlockedError
from service.config import Settings
from service.core import (
    approved,
    contact_values,
    content,
    faults,
    fingerprints,
    frozen,
    gaps,
    hours,
    moments,
    numbers,
    openings,
    personalisation,
    reach,
    service_windows,
    sessions,
    signals,
    usages,
    uses,
    variables,
)
from service.core.accounts import Accounts
from service.core.deliveries import invalid
from service.core.personalisation import Personalisation, PersonalisedParts
from service.core.placeholders import Syntax
from service.core.recipient_lists import Recipients
from service.core.variables import UnusableVariablesError
from service.database import milliseconds
from service.errors import ConflictError, InvalidError
from service.models import (
    Broadcast,
    BroadcastStatus,
    OnInvalid,
    Session,
)

_MANY = 1_000
"""From so many recipients on it is worth a query to know early that a limit refuses them."""


@dataclass(frozen=True, slots=True)
class BroadcastRequest:
    """A client's request for a broadcast. Times are Unix milliseconds.

    `people` are parsed before a transaction is open: a million take a second.
    `fingerprint`: an idempotency key may only be reused with the same one.
    `within` is set for a session token: the broadcast may then use only objects of that session.
    `variables` are the values of recipients who have none of their own. `skips_invalid`: entries
    that are not valid become failed deliveries. `confirms_countries`: numbers are not suspected to
    have lost their zeros.
    """

    session_id: str
    people: Recipients
    message: dict[str, Any]
    send_at: int | None = None
    expires_at: int | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""
    within: str | None = None
    personalise: bool = False
    syntax: Syntax = Syntax.BRACES
    variables: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    window: dict[str, Any] | None = None
    audience: dict[str, Any] | None = None
    skips_invalid: bool = False
    confirms_countries: bool = False

    @property
    def is_personal(self) -> bool:
        """Whether the message has placeholders."""
        return self.personalise or self.people.variables is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """A validated request: the broadcast, not stored yet, its recipients and its parts."""

    broadcast: Broadcast
    people: Recipients
    session: Session
    driver: Driver
    worded: PersonalisedParts


def accept(
    db: Db, client_id: str, order: BroadcastRequest, *, accounts: Accounts, now: int
) -> Broadcast:
    """Accept a broadcast: validate everything, freeze the recipients, store one row.

    Raises InvalidError with all errors at once, UnknownSessionError, ConflictError, LimitError. A
    repeated request with the same idempotency key returns the first broadcast.
    """
    if earlier := _earlier(db, client_id, order):
        return earlier
    if len(order.people.unique) >= _MANY:
        many = len(order.people.unique)
        usages.foresee(db, client_id, accounts.settings, now=now, recipients=many)
    plan = prepare(db, client_id, order, accounts=accounts, now=now)
    return _store(db, plan, order, accounts.settings.fanout_chunk, now=now)


def prepare(
    db: Db, client_id: str, order: BroadcastRequest, *, accounts: Accounts, now: int
) -> Plan:
    """Validate a request, without storing anything.

    Raises InvalidError with all errors at once, and UnknownSessionError.
    """
    settings = accounts.settings
    session = sessions.choose(db, client_id, order.session_id)
    wrong: dict[str, Any] = {}
    driver = faults.noted(wrong, _open, accounts, session)
    if (template := order.message.get("template")) and driver and driver.has_templates:
        faults.noted(wrong, approved.check, db, session, template)
    resolved = faults.noted(wrong, _resolved, db, client_id, order, settings)
    personal = faults.noted(wrong, _personalisation, order)
    most, within = settings.max_recipients, order.within
    people = faults.noted(
        wrong,
        reach.find,
        db,
        client_id,
        order.people,
        driver,
        within=within,
        most=most,
        skipping=order.skips_invalid,
    )
    if not order.confirms_countries:
        faults.noted(wrong, reach.refuse_lost_zeros, order.people)
    opens_at = faults.noted(wrong, _opening, order, session, now)
    expires_at = opens_at and faults.noted(
        wrong, _expiry, order, now, opens_at, settings.expire_after
    )
    if driver is None or resolved is None:
        raise InvalidError(errors=wrong)
    said = accounts.restored(resolved)
    parsed = personal and faults.noted(wrong, personal.parse_all, said)
    if personal and parsed and people:
        if within is None:
            names = personalisation.names_in(parsed.values())
            people = contact_values.supply(db, client_id, people, names)
        words = _Words(driver, said, settings.max_text_chars)
        personal = faults.noted(wrong, gaps.check, said, parsed, people, personal, words.plan)
    worded = None if wrong else faults.noted(wrong, _worded, driver, said, personal)
    if wrong or not (people and expires_at and worded):
        raise InvalidError(errors=wrong)
    broadcast = _row(
        client_id,
        order,
        people,
        now=now,
        session_id=session.id,
        content=resolved,
        personalisation=personalisation.keep(personal),
        parts=len(worded.parts),
        expires_at=expires_at,
    )
    return Plan(broadcast, people, session, driver, worded)


def _row(
    client_id: str, order: BroadcastRequest, people: Recipients, *, now: int, **found: Any
) -> Broadcast:
    """Return the row of a broadcast; `found` are the columns that its validation looked up."""
    on_invalid = OnInvalid.SKIP if order.skips_invalid else OnInvalid.REJECT
    return Broadcast(
        id=ids.new_broadcast(),
        client_id=client_id,
        send_type=order.people.send_type,
        to=order.people.shown,
        to_truncated=order.people.is_truncated,
        numbering=order.people.numbering.stored() | {"on_invalid": on_invalid},
        countries=numbers.countries(people.unique),
        message=order.message,
        total=len(people.unique) + len(invalid.texts(people)),
        bytes=size_of(order.message) + frozen.size(people),
        send_at=order.send_at,
        sample=order.sample,
        window=order.window,
        **openings.span(order.window, _start(order, now))._asdict(),
        audience=order.audience,
        status=_first_status(order, now),
        idempotency_key=order.idempotency_key,
        request_digest=order.fingerprint,
        created_at=now,
        updated_at=now,
        **found,
    )


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
    size = size_of(message)
    if size > settings.max_message_bytes:
        most = f"{settings.max_message_bytes:,} bytes as JSON (MAX_MESSAGE_BYTES)"
        faults["message"] = [f"Must have at most {most}; it has {size:,}."]
    if faults:
        raise InvalidError(errors=faults)
    return content.resolve(db, client_id, message, within=order.within)


def size_of(message: dict[str, Any]) -> int:
    """Return the bytes of a message as JSON."""
    return len(json.dumps(message, ensure_ascii=False, default=str).encode())


def _start(order: BroadcastRequest, now: int) -> int:
    return max(now, order.send_at or now)


def _opening(order: BroadcastRequest, session: Session, now: int) -> int:
    """Return when sending may begin by the windows; raises InvalidError if never."""
    windows = hours.read_all(order.window, session.window)
    opens_at = hours.opening(windows, _start(order, now))
    if opens_at is None:
        raise InvalidError(errors={"window": [openings.NEVER]})
    return opens_at


def _expiry(order: BroadcastRequest, now: int, opens_at: int, expire_after: float) -> int:
    if order.expires_at is None:
        return opens_at + milliseconds(expire_after)
    if order.expires_at <= _start(order, now):
        raise InvalidError(errors={"expires_at": ["Must be later than `send_at` and than now."]})
    if order.expires_at <= opens_at:
        reason = f"Must be later than the window opens, {moments.show(opens_at)}."
        raise InvalidError(errors={"expires_at": [reason]})
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


def _personalisation(order: BroadcastRequest) -> Personalisation | None:
    """Return how a message is personalised, without its lengths; None if it is not."""
    if not order.is_personal:
        if order.variables or order.syntax != Syntax.BRACES:
            field = "variables" if order.variables else "syntax"
            reason = 'Needs "personalise": true, or a recipient with variables.'
            raise InvalidError(errors={field: [reason]})
        return None
    try:
        common = variables.settle(order.variables)
    except UnusableVariablesError as error:
        raise InvalidError(errors={"variables": [f"The broadcast {error}."]}) from error
    template = order.message.get("template") or {}
    return Personalisation(order.syntax, common, {}, bool(template.get("tidy")))


@dataclass(frozen=True, slots=True)
class _Words:
    """A personal message and the limits on its length."""

    driver: Driver
    said: Content
    most: int

    def plan(self, personal: Personalisation) -> PersonalisedParts:
        """Split the message into parts; raises UnsupportedContentError."""
        field = "message.text"
        if personal.lengths.get(field, 0) > self.most and len(self.said.text) <= self.most:
            reason = f"This service takes {self.most} characters (MAX_TEXT_CHARS)."
            raise UnsupportedContentError(field, reason)
        return service_windows.cut(self.driver, self.said, personal)


def _worded(driver: Driver, said: Content, personal: Personalisation | None) -> PersonalisedParts:
    """Split the message into parts; raises InvalidError for unsupported content."""
    try:
        return service_windows.cut(driver, said, personal)
    except UnsupportedContentError as error:
        raise InvalidError(errors={error.field: [error.reason]}) from error
    except BlockedError as error:
        raise InvalidError(errors={"session_id": [error.reason]}) from error


def _store(db: Db, plan: Plan, order: BroadcastRequest, chunk: int, *, now: int) -> Broadcast:
    """Store a broadcast, or return the one that another request created with the same key."""
    broadcast = plan.broadcast
    try:
        with db.begin_nested():
            db.add(broadcast)
            db.flush()
            uses.hold_files(db, broadcast)
    except IntegrityError as error:
        if earlier := _earlier(db, broadcast.client_id, order):
            return earlier
        what = "The session or an attachment of this broadcast has just been deleted."
        raise ConflictError(what) from error
    frozen.keep(db, broadcast, plan.people, chunk)
    invalid.keep(db, broadcast, plan.people)
    amounts = {"broadcasts": 1, "bytes": broadcast.bytes, "recipients": len(plan.people.unique)}
    usages.note(db, broadcast.client_id, now=now, **amounts)
    signals.announce(db, broadcast)
    return broadcast
