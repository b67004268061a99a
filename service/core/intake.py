"""Intake: validates a request for a broadcast and stores it, completely or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import undefer

from service import ids
from service.channels.base import Driver
from service.core import (
    daily_limits,
    fallbacks,
    faults,
    fingerprints,
    frozen,
    moments,
    numbers,
    openings,
    reach,
    schedules,
    sessions,
    signals,
    usages,
    uses,
    zones,
)
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest
from service.core.deliveries import invalid
from service.core.fallbacks import StepPlan
from service.core.fittings import Fitting
from service.core.personalisation import PersonalisedParts
from service.core.recipient_lists import Recipients
from service.core.schedules import Crowd
from service.database import milliseconds
from service.errors import ConflictError, InvalidError, JustDeletedError
from service.models import (
    Broadcast,
    BroadcastStatus,
    OnInvalid,
    SendType,
    Session,
)

_MANY = 1_000
"""From so many recipients on a request is worth queries of its own, to refuse it early and to let
others write meanwhile."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A validated request: the broadcast, not stored yet, its recipients and its parts."""

    broadcast: Broadcast
    people: Recipients
    session: Session
    driver: Driver
    worded: PersonalisedParts
    steps: Sequence[StepPlan] = ()


class Accepted(NamedTuple):
    """A broadcast, and whether this request created it or an earlier one with the same key."""

    broadcast: Broadcast
    is_new: bool


def is_long(order: BroadcastRequest) -> bool:
    """Return whether others should be able to write while a request is validated."""
    people = order.people
    return max(len(people.unique), people.count) >= _MANY or people.send_type == SendType.GROUP


def plan(
    db: Db, client_id: str, order: BroadcastRequest, *, accounts: Accounts, now: int
) -> Plan | None:
    """Validate a request before `accept` stores it, while others may write.

    Return None if one with its idempotency key is stored already. Raises what `accept` raises.
    """
    many = len(order.people.unique)
    if _earlier(db, client_id, order):
        return None
    if many >= _MANY:
        usages.foresee(db, client_id, accounts.settings, now=now, recipients=many)
    return prepare(db, client_id, order, accounts=accounts, now=now)


def accept(  # noqa: PLR0913 - the plan is there if it was made before
    db: Db,
    client_id: str,
    order: BroadcastRequest,
    *,
    accounts: Accounts,
    now: int,
    planned: Plan | None = None,
) -> Accepted:
    """Accept a broadcast: validate everything, freeze the recipients, store one row.

    Raises InvalidError with all errors at once, UnknownSessionError, ConflictError, LimitError. A
    repeated request with the same idempotency key returns the first broadcast.
    """
    if earlier := _earlier(db, client_id, order):
        return Accepted(earlier, is_new=False)
    planned = planned or prepare(db, client_id, order, accounts=accounts, now=now)
    return _store(db, planned, order, accounts.settings.fanout_chunk, now=now)


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
    opening = people and faults.noted(wrong, _opening, order, session, people, now)
    expires_at = faults.noted(
        wrong, _expiry, order, now, opening or _Opening(now, now), settings.expire_after
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


class _Opening(NamedTuple):
    """When the windows let sending begin, and when it begins for the recipients who wait longest.

    They wait for their hours and for the daily limit.
    """

    first: int
    last: int


def _opening(order: BroadcastRequest, session: Session, people: Recipients, now: int) -> _Opening:
    """Return when sending may begin; raises InvalidError if that is never for somebody."""
    crowds = schedules.crowds((order.window, session.window), people.unique)
    spans = [(crowd.span(_start(order, now)), crowd) for crowd in crowds]
    if shut_out := [crowd for span, crowd in spans if span is None]:
        raise InvalidError(errors={"window": [_never(shut_out, people)]})
    opens_at = [span.opens_at for span, _ in spans if span]
    limit = daily_limits.of(session)
    days = (len(people.unique) - 1) // limit.most if limit else 0
    return _Opening(min(opens_at), max(opens_at) + days * daily_limits.DAY)


def _never(shut_out: Sequence[Crowd], people: Recipients) -> str:
    """Say for whom the windows are never open at the same time."""
    names = shut_out[0].zones
    if not names:
        return openings.NEVER
    who = next(each for each in people.unique if zones.of(each) == names)
    count = round(sum(crowd.count for crowd in shut_out))
    return (
        "Must be open at the same time in all time zones in which a recipient may be. For"
        f" {count:,} recipients, such as {who}, it never is: {names[0]} to {names[-1]}. Open it for"
        " longer, or send to them in a broadcast of their own."
    )


def _expiry(order: BroadcastRequest, now: int, opening: _Opening, expire_after: float) -> int:
    if order.expires_at is None:
        return opening.last + milliseconds(expire_after)
    if order.expires_at <= _start(order, now):
        raise InvalidError(errors={"expires_at": ["Must be later than `send_at` and than now."]})
    if order.expires_at <= opening.first:
        reason = f"Must be later than the window opens, {moments.show(opening.first)}."
        raise InvalidError(errors={"expires_at": [reason]})
    return order.expires_at


def _first_status(order: BroadcastRequest, now: int) -> BroadcastStatus:
    later = order.send_at is not None and order.send_at > now
    return BroadcastStatus.SCHEDULED if later else BroadcastStatus.SENDING


def _store(db: Db, plan: Plan, order: BroadcastRequest, chunk: int, *, now: int) -> Accepted:
    """Store a broadcast, or return the one that another request created with the same key."""
    broadcast = plan.broadcast
    # Without a key nothing is left to look for after an error, so there is nothing to go back to.
    with_key = db.begin_nested() if order.idempotency_key else nullcontext()
    try:
        with with_key:
            db.add(broadcast)
            db.flush()
            uses.hold_files(db, broadcast)
    except IntegrityError as error:
        if earlier := _earlier(db, broadcast.client_id, order):
            return Accepted(earlier, is_new=False)
        raise JustDeletedError from error
    frozen.keep(db, broadcast, plan.people, chunk)
    invalid.keep(db, broadcast, plan.people)
    fallbacks.keep(db, broadcast, plan.steps)
    amounts = {"broadcasts": 1, "bytes": broadcast.bytes, "recipients": len(plan.people.unique)}
    usages.note(db, broadcast.client_id, now=now, **amounts)
    signals.announce(db, broadcast)
    return Accepted(broadcast, is_new=True)
