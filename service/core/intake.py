"""Intake: validates a request for a broadcast and stores it, completely or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import undefer

from service import ids
from service.channels.base import Driver
from service.core import (
    fallbacks,
    faults,
    fingerprints,
    frozen,
    hours,
    moments,
    numbers,
    openings,
    reach,
    sessions,
    signals,
    usages,
    uses,
)
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest
from service.core.deliveries import invalid
from service.core.fallbacks import StepPlan
from service.core.fittings import Fitting
from service.core.personalisation import PersonalisedParts
from service.core.recipient_lists import Recipients
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
class Plan:
    """A validated request: the broadcast, not stored yet, its recipients and its parts."""

    broadcast: Broadcast
    people: Recipients
    session: Session
    driver: Driver
    worded: PersonalisedParts
    steps: Sequence[StepPlan] = ()


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
    fitting = Fitting.start(db, order, session, accounts, wrong)
    people = faults.noted(
        wrong,
        reach.find,
        db,
        client_id,
        order.people,
        fitting.driver,
        within=order.within,
        most=settings.max_recipients,
        skipping=order.skips_invalid,
    )
    if not order.confirms_countries:
        faults.noted(wrong, reach.refuse_lost_zeros, order.people)
    opens_at = faults.noted(wrong, _opening, order, session, now)
    expires_at = opens_at and faults.noted(
        wrong, _expiry, order, now, opens_at, settings.expire_after
    )
    fitted = fitting.finish(db, people, wrong)
    if wrong or not (expires_at and fitted):
        raise InvalidError(errors=wrong)
    steps, people = fallbacks.plan(db, client_id, order, fitted, accounts=accounts)
    broadcast = _row(
        client_id,
        order,
        people,
        now=now,
        expires_at=expires_at,
        fallback=[step.kept() for step in steps] or None,
        **fitted.columns(),
    )
    return Plan(broadcast, people, session, fitted.driver, fitted.worded, steps)


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
        bytes=fallbacks.size(order.message, found["fallback"]) + frozen.size(people),
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
    fallbacks.keep(db, broadcast, plan.steps)
    amounts = {"broadcasts": 1, "bytes": broadcast.bytes, "recipients": len(plan.people.unique)}
    usages.note(db, broadcast.client_id, now=now, **amounts)
    signals.announce(db, broadcast)
    return broadcast
