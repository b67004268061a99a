"""Decisions: the consequences of a provider's answer or webhook.

Dispatch decides. This module defines the possible decisions and writes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import structlog
from sqlalchemy.orm import Session as Db

from service.core import holding, opt_outs, sent_parts, template_holds
from service.core.deliveries.opted_out import OptOutOwner
from service.core.deliveries.transitions import Outcome
from service.core.revocations import ClaimKey
from service.core.sent_parts import PartSent
from service.models import OptOutSource

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason to stop more than one delivery: of a session or a broadcast, for good or `until`.

    `of_template`: until the broadcast's template can be used again.
    """

    reason: str
    session_id: str | None = None
    broadcast_id: str | None = None
    until: int | None = None
    of_template: bool = False


class Decision(NamedTuple):
    """The outcome for one delivery, and its further consequences.

    `opted_out`: `recipient` opted out of the session's messages. `is_unknown`: the provider refused
    with a code that the driver does not know. `parts` are the parts just accepted that receipts
    will name only by the provider's id.
    """

    outcome: Outcome
    hold: Hold | None = None
    session_id: str = ""
    recipient: str = ""
    opted_out: bool = False
    is_unknown: bool = False
    parts: tuple[PartSent, ...] = ()


def carry_out(db: Db, decisions: Iterable[Decision], *, now: int) -> None:
    """Write the consequences of decisions beyond their deliveries: holds, opt-outs, message ids."""
    told = [
        decision for decision in decisions if decision.hold or decision.opted_out or decision.parts
    ]
    sent_parts.remember(db, [part for decision in told for part in decision.parts])
    for hold in sorted({decision.hold for decision in told if decision.hold}, key=_order):
        put_on_hold(db, hold, now=now)
    for whose, people in _refusers(told).items():
        opt_outs.remember(db, whose, people, OptOutSource.PROVIDER, now=now)


def leave_out(db: Db, decisions: Iterable[Decision], *, now: int) -> list[ClaimKey]:
    """End deliveries that wait for people who opted out, in a transaction after `carry_out`'s."""
    return [
        claim
        for whose, people in _refusers(decisions).items()
        for claim in opt_outs.enforce(db, whose, people, now=now)
    ]


def _refusers(decisions: Iterable[Decision]) -> dict[OptOutOwner, list[str]]:
    """Return the people who opted out, by session."""
    pairs = sorted({(each.session_id, each.recipient) for each in decisions if each.opted_out})
    return {
        OptOutOwner(session_id=session_id): [recipient for _, recipient in some]
        for session_id, some in groupby(pairs, key=itemgetter(0))
    }


def put_on_hold(db: Db, hold: Hold, *, now: int) -> None:
    """Stop a session or a broadcast for all processes."""
    if hold.session_id:
        holding.hold_session(db, hold.session_id, hold.reason, until=hold.until, now=now)
        log.warning("session held", session_id=hold.session_id, reason=hold.reason)
    if hold.broadcast_id:
        stop = template_holds.hold if hold.of_template else holding.hold_broadcast
        stop(db, hold.broadcast_id, hold.reason, now=now)
        log.warning("broadcast paused", broadcast_id=hold.broadcast_id, reason=hold.reason)


def _order(hold: Hold) -> tuple[str, str, int]:
    """Return the order in which every process writes holds, so that none blocks another."""
    return hold.session_id or "", hold.broadcast_id or "", hold.until or 0
