"""Starts: a scheduled broadcast to groups goes to those who are members when its time comes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Final

from sqlalchemy.orm import Session as Db

from service.core import edits, outbox, ways
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest
from service.core.deliveries.transitions import storable
from service.core.intake import Plan
from service.errors import ConflictError, ServiceError
from service.models import Broadcast, BroadcastStatus, EventType

_MOST_SAID: Final = 4
"""Reasons that are told of a broadcast that could not start."""


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What starts a broadcast to groups: its members now, or why they cannot get it."""

    former: Broadcast
    order: BroadcastRequest
    found: Plan | ServiceError

    def outcome(self) -> Plan:
        """Return the plan; raises the error that was found instead."""
        if isinstance(self.found, ServiceError):
            raise self.found
        return self.found


def plan(db: Db, broadcast_id: str, *, accounts: Accounts, now: int) -> StartPlan:
    """Look up to whom a broadcast to groups goes whose time has come."""
    former = db.get_one(Broadcast, broadcast_id)
    order = edits.merge(former, {}, most=accounts.settings.max_recipients, within=None, now=now)
    try:
        return StartPlan(former, order, edits.plan(db, former, order, accounts=accounts, now=now))
    except ServiceError as error:
        return StartPlan(former, order, error)


def begin(db: Db, found: StartPlan, *, chunk: int, now: int) -> bool:
    """Start a broadcast to groups; return whether it is sent now.

    If its members cannot get it, it pauses, and `reason` says why. If it has changed since `plan`,
    it stays as it is: another process has started it, or its client has just changed it.
    """
    broadcast = _unchanged(db, found)
    if broadcast is None:
        return False
    try:
        planned = found.outcome()
        with db.begin_nested():
            edits.replace(db, found.former, found.order, {}, planned=planned, chunk=chunk, now=now)
    except ConflictError:
        return False
    except ServiceError as error:
        _pause(db, broadcast, error, now)
        return False
    return True


def fail(db: Db, found: StartPlan, error: ServiceError, *, now: int) -> None:
    """Pause a broadcast whose start was refused when it was committed, by a limit of its client."""
    broadcast = _unchanged(db, found)
    if broadcast is not None:
        _pause(db, broadcast, error, now)


def _unchanged(db: Db, found: StartPlan) -> Broadcast | None:
    """Lock a broadcast, and return it if it is as it was when its start was planned."""
    broadcast, former = edits.locked(db, found.former.id), found.former
    is_same = (broadcast.version, broadcast.status) == (former.version, former.status)
    return broadcast if is_same else None


def _pause(db: Db, broadcast: Broadcast, error: ServiceError, now: int) -> None:
    said = [error.message, *map(str, chain.from_iterable(error.errors.values()))]
    broadcast.status = BroadcastStatus.PAUSED
    broadcast.reason = storable(
        f"Not started: {' '.join(said[:_MOST_SAID])} Correct it, send this broadcast once more with"
        " PUT to read its groups again, then resume it."
    )
    db.flush()
    ways.align(db, broadcast)
    outbox.tell_broadcast(db, broadcast, EventType.BROADCAST_PAUSED, now=now)
