"""The sweep: starts schedules, ends expired broadcasts, recovers dead claims, repairs counters.

Every dispatching process runs it periodically. All its updates are guarded, so that several
processes can run it at the same time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from sqlalchemy import RowMapping

from service.config import Settings
from service.core import dispatchers, openings, overdue, rosters, samples, signals, starts
from service.core.accounts import Accounts
from service.core.deliveries import claims, tallies, transitions
from service.core.starts import StartPlan
from service.database import Database, now_ms
from service.dispatch.sending import ledger
from service.dispatch.upkeep.repeats import Repeats
from service.errors import LimitError
from service.models import Broadcast, BroadcastStatus, DeliveryStatus

log = structlog.get_logger(__name__)

_WITHDRAWN_AT_ONCE = 5_000

_RESCUE_TIME = 10.0
"""Seconds after which a turn leaves the other claims to the next one: providers that do not answer
must not keep the sweep from the rest."""


@dataclass(slots=True)
class Sweep:
    """The turns that leave nothing at `sending` for ever."""

    settings: Settings
    database: Database
    accounts: Accounts
    on_ready: Callable[[], None]

    def turn(self) -> float:
        """Sweep once; return the seconds until the next sweep."""
        self._start_due()
        self._move_windows()
        self._end_samples()
        more = self._rescue()
        more |= self._wind_up()
        self._give_up_held()
        self._recount()
        self._remove_groups()
        self._clear_ledgers()
        return 0.0 if more else self.settings.sweep_interval

    def _start_due(self) -> None:
        """Start scheduled broadcasts that are due."""
        with self.database.writing() as db:
            started = overdue.start(db, now=now_ms())
        started = [*started, *self._start_groups()]
        for broadcast_id in started:
            log.info("broadcast sending", broadcast_id=broadcast_id)
        if started:
            self.on_ready()

    def _start_groups(self) -> Iterator[str]:
        """Start the due broadcasts to groups, each in a transaction: it may have many members."""
        with self.database.reading() as db:
            due = overdue.to_groups(db, now=now_ms())
        for broadcast_id in due:
            with self.database.reading() as db:
                found = starts.plan(db, broadcast_id, accounts=self.accounts, now=now_ms())
            if self._start(found):
                yield broadcast_id

    def _start(self, found: StartPlan) -> bool:
        """Start a broadcast to groups; return whether it is sent now."""
        try:
            with self.database.writing_much() as db:
                return starts.begin(db, found, chunk=self.settings.fanout_chunk, now=now_ms())
        except LimitError as error:
            # What it takes in addition is compared with the limits when it is committed.
            with self.database.writing() as db:
                starts.fail(db, found, error, now=now_ms())
            return False

    def _move_windows(self) -> None:
        """Set when windows that have closed open again."""
        with self.database.writing() as db:
            openings.move_on(db, now=now_ms())

    def _end_samples(self) -> None:
        """Pause the broadcasts that were sent to their sample."""
        now = now_ms()
        with self.database.writing() as db:
            paused = samples.pause(db, now=now)
            samples.release_expired(db, now=now)
        for broadcast_id in paused:
            log.info("broadcast paused after its sample", broadcast_id=broadcast_id)

    def _rescue(self) -> bool:
        """Recover the claims of dead dispatchers; return whether more are left."""
        with self.database.reading() as db:
            orphans = deque(claims.orphans(db))
        if not orphans:
            return False
        repeats, until = Repeats(self.database, self.accounts), time.monotonic() + _RESCUE_TIME
        is_early = True
        while orphans and is_early:
            self._rescue_one(orphans.popleft(), repeats)
            is_early = time.monotonic() < until
        self.on_ready()
        return bool(orphans)

    def _rescue_one(self, orphan: RowMapping, repeats: Repeats) -> None:
        """Queue deliveries that were not being sent; send the others again, or hold them."""
        claim_id, broadcast_id = orphan["claim_id"], orphan["broadcast_id"]
        under_way = ledger.under_way(self.settings.ledgers_dir, claim_id)
        untouched = 0
        if under_way is not None:
            with self.database.writing() as db:
                untouched = claims.return_untouched(
                    db, claim_id, broadcast_id, under_way, now=now_ms()
                )
        resend = repeats.may_be_offered(orphan)
        with self.database.writing() as db:
            claims.rescue(db, claim_id, broadcast_id, resend=resend, now=now_ms())
            signals.announce(db, db.get_one(Broadcast, broadcast_id))
        log.warning(
            "claims taken over", broadcast_id=broadcast_id, untouched=untouched, resend=resend
        )

    def _clear_ledgers(self) -> None:
        """Remove the ledgers of dispatchers without claims."""
        if not (kept := ledger.kept(self.settings.ledgers_dir)):
            return
        with self.database.reading() as db:
            needed = dispatchers.beats(db).keys() | {
                each["claim_id"] for each in claims.orphans(db)
            }
        for dispatcher_id in set(kept) - needed:
            ledger.forget(self.settings.ledgers_dir, dispatcher_id)

    def _wind_up(self) -> bool:
        """End deliveries of cancelled and expired broadcasts; return whether more are left."""
        with self.database.reading() as db:
            ending = overdue.ending(db, now=now_ms())
        moved = [self._withdraw(broadcast_id, status) for broadcast_id, status in ending]
        return _WITHDRAWN_AT_ONCE in moved

    def _withdraw(self, broadcast_id: str, status: str) -> int:
        decision = _CANCELLED if status == BroadcastStatus.CANCELLED else _EXPIRED
        with self.database.writing() as db:
            return transitions.withdraw(
                db, broadcast_id, *decision, limit=_WITHDRAWN_AT_ONCE, now=now_ms()
            )

    def _give_up_held(self) -> None:
        """End the deliveries of expired broadcasts that a provider still holds back."""
        with self.database.reading() as db:
            over = overdue.held(db, now=now_ms())
        for broadcast_id in over:
            with self.database.writing() as db:
                transitions.doubt_held(db, broadcast_id, now=now_ms())

    def _remove_groups(self) -> None:
        """Delete the groups that a crash left incomplete."""
        with self.database.reading() as db:
            left = rosters.abandoned(db, now=now_ms())
        for group_id in left:
            while self._remove_group(group_id):
                pass

    def _remove_group(self, group_id: str) -> bool:
        with self.database.writing() as db:
            return rosters.remove(db, group_id)

    def _recount(self) -> None:
        """Recount broadcasts without open deliveries that are not closed."""
        with self.database.reading() as db:
            stuck = overdue.stuck(db)
        for broadcast_id in stuck:
            with self.database.writing() as db:
                closed = tallies.recount(db, broadcast_id, now=now_ms())
            if closed:
                log.error("counters put right", broadcast_id=broadcast_id)


_CANCELLED = (
    DeliveryStatus.CANCELLED,
    "cancelled",
    "The broadcast was deleted before this was sent.",
)
_EXPIRED = (
    DeliveryStatus.FAILED,
    "expired",
    "The broadcast expired before this was sent. Retry it, or create a new one.",
)
