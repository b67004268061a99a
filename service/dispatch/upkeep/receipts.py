"""Applies the receipts that webhooks have stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import load_only

from service.channels.errors import BlockedError
from service.config import Settings
from service.core import decisions, holding, receipts, waiting
from service.core.cases import Failure, Judge
from service.core.decisions import Decision, Hold
from service.core.deliveries import looks
from service.core.hearing import AccountReport
from service.core.receipts import Applied
from service.database import Database, now_ms
from service.dispatch.sending import retry
from service.dispatch.sending.retry import Policy
from service.dispatch.sending.streaks import Streaks
from service.metrics import meters
from service.models import Broadcast, BroadcastStatus, Session

log = structlog.get_logger(__name__)

_BATCH = 500

_MOST_DOUBLINGS = 2
"""How often a batch doubles while more is due than it takes: a turn has costs of its own."""

_OF_BROADCAST = [
    load_only(
        *(Broadcast.status, Broadcast.expires_at, Broadcast.deleted_at),
        *(Broadcast.parent_id, Broadcast.step),
    )
]
"""The columns that a judge needs: the message may be large."""


@dataclass(slots=True)
class Receipts:
    """Applies providers' reports, many in one transaction.

    A reported failure has the same effect as a failure in an answer. `on_hold` is called with each
    new hold as soon as it is written.
    """

    settings: Settings
    database: Database
    on_ready: Callable[[], None]
    on_hold: Callable[[Hold], None]
    streaks: Streaks = field(default_factory=Streaks)
    _doublings: int = 0

    def turn(self) -> float:
        """Apply due receipts; return the seconds until the next turn."""
        now, began = now_ms(), time.monotonic()
        with self.database.reading() as db:
            sessions = waiting.due(db, now=now)
        if not sessions:
            return self.settings.poll_interval
        with self.database.writing() as db:
            judge = judge_for(db, self.settings, now)
            result = receipts.apply(db, sessions, _BATCH << self._doublings, judge, now=now)
            holds = self._carry_out(db, result, now)
        if opted_out := [decision for decision in result.decisions if decision.opted_out]:
            with self.database.writing() as db:
                decisions.leave_out(db, opted_out, now=now)
        for hold in holds:
            self.on_hold(hold)
        self._tell(result)
        return self._rest(result, time.monotonic() - began)

    def _rest(self, result: Applied, seconds: float) -> float:
        """Return the seconds until the next turn, after one that took some seconds.

        Receipts of unknown messages may go on for long. Others who write to SQLite get turns, too.
        """
        self._doublings = min(self._doublings + 1, _MOST_DOUBLINGS) if result.is_full else 0
        if not result.is_full:
            return self.settings.poll_interval
        if result.waiting <= result.applied:
            return 0.0
        return min(seconds, self.settings.poll_interval / 2)

    def _carry_out(self, db: Db, result: Applied, now: int) -> list[Hold]:
        """Write the effects of failures and account reports; return the new holds."""
        weighed = [self.streaks.weigh(decision) for decision in result.decisions]
        for broadcast_id in result.arrived:
            self.streaks.end(broadcast_id)
        decisions.carry_out(db, weighed, now=now)
        holds = [decision.hold for decision in weighed if decision.hold]
        return holds + [hold for each in result.heard if (hold := _heed(db, each, now))]

    def _tell(self, result: Applied) -> None:
        """Count dropped receipts, and wake the dispatcher if needed."""
        if result.unknown:
            log.warning("receipts of nothing of ours were dropped", count=result.unknown)
        if result.untimely:
            log.warning("receipts of what was never sent were dropped", count=result.untimely)
        meters.skipped("unknown", result.unknown)
        meters.skipped("untimely", result.untimely)
        if result.queued or result.heard:
            self.on_ready()


def _heed(db: Db, heard: AccountReport, now: int) -> Hold | None:
    """Release a session that can send, or hold one that cannot."""
    if heard.error is None:
        holding.release_session(db, heard.session_id, now=now)
    if not isinstance(heard.error, BlockedError):
        return None
    hold = retry.blocked(heard.error, heard.session_id, now=now)
    decisions.put_on_hold(db, hold, now=now)
    return hold


def judge_for(db: Db, settings: Settings, now: int) -> Judge:
    """Return the judge of failures that receipts report."""

    def judge(failure: Failure) -> Decision:
        broadcast = db.get_one(Broadcast, failure.delivery.broadcast_id, options=_OF_BROADCAST)
        session = db.get_one(Session, failure.session_id)
        decision = retry.judge(
            failure.error,
            failure.delivery,
            (failure.delivery.message_ids or "").split(),
            Policy.of(settings, session, broadcast.expires_at),
            session.id,
            now=now,
        )
        if _is_over(broadcast, now):
            return retry.final(decision, "the broadcast has ended")
        if broadcast.parent_id and looks.is_left(db, broadcast, failure.delivery.id):
            return retry.final(decision, "another way has it")
        return decision

    return judge


def _is_over(broadcast: Broadcast, now: int) -> bool:
    """Return whether a broadcast sends nothing more. A completed one may continue."""
    is_gone = broadcast.deleted_at is not None or broadcast.status == BroadcastStatus.CANCELLED
    return is_gone or broadcast.expires_at <= now
