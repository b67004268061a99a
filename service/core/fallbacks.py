"""Fallbacks: the ways of a broadcast to people whom its session does not reach.

A way is a hidden broadcast with its own session, message and deliveries. So it has everything that
sessions and broadcasts have: rates, windows, holds, opt-outs, claims, receipts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import fittings, personalisation, sessions, usages, uses, ways
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest, FallbackStep
from service.core.deliveries.retries import RetryWay
from service.core.fittings import Fitted, Fitting
from service.core.recipient_lists import Recipients
from service.errors import ConflictError, InvalidError, UnknownSessionError
from service.models import Broadcast, BroadcastStatus, DueWay, Session

MOST: Final = 3
"""The most steps of a fallback."""

MOST_WAYS: Final = 10
"""The most ways that follow the session of a broadcast, by its fallback or by retries."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A validated step of a fallback."""

    step: FallbackStep
    fitted: Fitted

    def kept(self) -> dict[str, Any]:
        """Return the JSON that is stored, and shown to the client."""
        said = {"message": self.step.message} if self.step.message else {}
        minutes = {"minutes": self.step.minutes} if self.step.minutes else {}
        return {"session_id": self.fitted.session.id, "after": self.step.after, **minutes, **said}


def restore(kept: Sequence[dict[str, Any]] | None) -> list[FallbackStep]:
    """Return the steps that were stored with a broadcast."""
    return [FallbackStep(**each) for each in kept or ()]


def size(message: dict[str, Any], kept: Sequence[dict[str, Any]] | None) -> int:
    """Return the bytes of the messages of a broadcast and of its steps, each stored by itself."""
    said = [message, *(each.get("message") or message for each in kept or ())]
    return sum(map(fittings.size_of, said))


def messages(kept: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return the messages that steps have of their own."""
    return [each["message"] for each in kept or () if each.get("message")]


def plan(
    db: Db, client_id: str, order: BroadcastRequest, fitted: Fitted, *, accounts: Accounts
) -> tuple[list[StepPlan], Recipients]:
    """Validate the steps of a request, whose own message is `fitted`.

    Return them, and the recipients with the values that all messages need. Raises InvalidError with
    the faults of all steps, each under the step's position.
    """
    if order.fallback and order.within is not None:
        reason = "The token of a session sends through that session alone. Use a client's token."
        raise InvalidError(errors={"fallback": [reason]})
    wrong: dict[str, Any] = {}
    planner = _Planner(db, order, accounts, fitted.people, {fitted.session.id})
    steps: list[StepPlan] = []
    for position, step in enumerate(order.fallback):
        try:
            steps.append(planner.plan(client_id, step))
        except (InvalidError, UnknownSessionError) as error:
            wrong |= _under(position, step, error.errors)
    if wrong:
        raise InvalidError(errors=wrong)
    return steps, planner.people


@dataclass(slots=True)
class _Planner:
    """Plans one step after another; `used` are the sessions of those before."""

    db: Db
    order: BroadcastRequest
    accounts: Accounts
    people: Recipients
    used: set[str]

    def plan(self, client_id: str, step: FallbackStep) -> StepPlan:
        """Plan a step; raises InvalidError, UnknownSessionError."""
        session = sessions.choose(self.db, client_id, step.session_id)
        if session.id in self.used:
            reason = "Must differ from the sessions before it: each is tried once."
            raise InvalidError(errors={"session_id": [reason]})
        wrong: dict[str, Any] = {}
        mine = replace(self.order, message=step.message or self.order.message)
        fitting = Fitting.start(self.db, mine, session, self.accounts, wrong)
        fitted = fitting.finish(self.db, self.people, wrong)
        if fitted is None:
            raise InvalidError(errors=wrong)
        self.people = fitted.people
        self.used.add(session.id)
        return StepPlan(step, fitted)


def _under(position: int, step: FallbackStep, errors: dict[str, Any]) -> dict[str, Any]:
    """Name the step in its faults.

    A fault in a shared message is reported for the step's session.
    """
    found: dict[str, Any] = {}
    for name, reasons in errors.items():
        if name.startswith("message") and not step.message:
            said = [f"This session cannot send `{name}`: {reason}" for reason in reasons]
            found.setdefault(f"fallback.{position}.session_id", []).extend(said)
        elif name.startswith(("message", "session_id")):
            found[f"fallback.{position}.{name}"] = reasons
        else:
            found[name] = [f"In step {position + 1} of the fallback: {each}" for each in reasons]
    return found


def keep(db: Db, broadcast: Broadcast, steps: Sequence[StepPlan]) -> None:
    """Store the ways of a broadcast."""
    if not steps:
        return
    broadcast.first_way_id = _keep_first(db, broadcast).id
    for number, each in enumerate(steps, 1):
        message = each.step.message or broadcast.message
        way = _way(broadcast, number, message=message, **each.fitted.columns())
        db.add(way)
        db.flush()
        uses.hold_files(db, way)
    db.flush()


def _keep_first(db: Db, broadcast: Broadcast) -> Broadcast:
    """Store the way of step 0, which keeps the results of the broadcast's own session.

    It sends nothing.
    """
    first = _way(broadcast, 0, session_id=broadcast.session_id, parts=broadcast.parts, content={})
    db.add(first)
    db.flush()
    return first


def add(db: Db, broadcast: Broadcast, session: Session, *, accounts: Accounts) -> RetryWay:
    """Return the way that a retry uses to reach a session: the last one, or a new one.

    This does not change the broadcast's row: see `retries.note_way`. Raises InvalidError if the
    session cannot send the message, and ConflictError if there are too many ways, or somebody else
    adds one.
    """
    driver = fittings.open_driver(accounts, session)
    kinds = (driver.reaches_groups, driver.reaches_user_ids)
    there = ways.of(db, broadcast)
    if there and there[-1].session_id == session.id:
        return RetryWay(there[-1], there[0].id, *kinds)
    if len(there) > MOST_WAYS:
        raise ConflictError(
            f"This broadcast has {MOST_WAYS} ways already. Create a new one to the others, with"
            ' "audience".'
        )
    said = accounts.restored(broadcast.content)
    worded = fittings.cut(driver, said, personalisation.restore(broadcast.personalisation))
    columns = {"session_id": session.id, "message": broadcast.message, "parts": len(worded.parts)}
    columns |= {name: getattr(broadcast, name) for name in ("content", "personalisation")}
    try:
        with db.begin_nested():
            first = there[0] if there else _keep_first(db, broadcast)
            way = _way(broadcast, len(there) or 1, **columns)
            db.add(way)
            db.flush()
    except IntegrityError as error:
        raise ConflictError("Another retry of this broadcast is under way. Try again.") from error
    uses.hold_files(db, way)
    more = fittings.size_of(broadcast.message)
    usages.note(db, broadcast.client_id, bytes=more)
    return RetryWay(way, first.id, *kinds, bytes=more)


def renew(db: Db, broadcast: Broadcast, steps: Sequence[StepPlan]) -> None:
    """Replace the ways of a broadcast that nobody has got yet."""
    for table, mine in ((Broadcast, Broadcast.parent_id), (DueWay, DueWay.broadcast_id)):
        gone = delete(table).where(mine == broadcast.id)
        db.execute(gone.execution_options(synchronize_session=False))
    broadcast.first_way_id = None
    keep(db, broadcast, steps)


def _way(broadcast: Broadcast, number: int, **columns: Any) -> Broadcast:
    """Return a way without deliveries."""
    now = broadcast.updated_at
    return Broadcast(
        id=ids.new_broadcast(),
        parent_id=broadcast.id,
        step=number,
        client_id=broadcast.client_id,
        send_type=broadcast.send_type,
        to=[],
        total=0,
        status=BroadcastStatus.COMPLETED,
        closed_at=now,
        expires_at=broadcast.expires_at,
        window=broadcast.window,
        opens_at=broadcast.opens_at,
        closes_at=broadcast.closes_at,
        created_at=now,
        updated_at=now,
        **{"message": {}, **columns},
    )
