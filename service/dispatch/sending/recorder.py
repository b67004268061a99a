"""The recorder collects results and writes them to the database in batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.orm import Session as Db

from service.config import Settings
from service.core import decisions
from service.core.decisions import Decision
from service.core.deliveries import opted_out, transitions
from service.core.deliveries.progress import NAMELESS
from service.core.deliveries.tallies import Closed
from service.core.deliveries.transitions import Outcome
from service.database import OUT_OF_REACH, Database, now_ms
from service.dispatch.loop import Loop
from service.metrics import meters
from service.models import DeliveryStatus

log = structlog.get_logger(__name__)

_IDLE = 0.5
_PAUSE = 0.1

MOST_UNWRITTEN = 2
"""Unwritten batches after which sending pauses. It bounds what a crash makes uncertain."""

Result = tuple[str, Decision]
"""The decision on a delivery that was claimed under an id."""


class Recorder:
    """The thread that writes results, at most `flush_interval` after they arrive.

    If writing a batch fails, the thread keeps the batch and tries again. The claim fences every
    write, so a repeat after a lost answer changes nothing twice. The thread wakes once per batch.
    Waking it for each result would make every sender wait for it.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._results: deque[Result] = deque()
        self._some = threading.Event()
        self._enough = threading.Event()
        self._batch: list[Result] = []
        self._most = MOST_UNWRITTEN * settings.flush_batch
        self.loop = Loop("recorder", self._turn)
        self.on_recorded: Callable[[list[Decision]], None] = lambda _recorded: None

    def put(self, results: Iterable[Result]) -> None:
        """Add results."""
        self._results.extend(results)
        self._announce()

    def has_room(self) -> bool:
        """Return whether more deliveries may begin: few enough results are unwritten."""
        return len(self._results) + len(self._batch) < self._most

    def is_empty(self) -> bool:
        """Return whether every result is written."""
        return not self._batch and not self._results

    def drain(self, deadline: float) -> bool:
        """Write all results before a monotonic deadline; return whether that succeeded."""
        self.loop.stop()
        # The thread may be waiting for results that do not come any more.
        self._some.set()
        self._enough.set()
        self.loop.join(deadline - time.monotonic())
        while not self.is_empty() and time.monotonic() < deadline:
            self._batch = self._batch or self._gather(wait=0.0)
            try:
                self._write()
            except SQLAlchemyError:
                log.warning("results wait for the database", results=len(self._batch))
                time.sleep(_PAUSE)
        return self.is_empty()

    def _turn(self) -> float:
        self._batch = self._batch or self._gather(wait=_IDLE)
        if self._batch:
            self._write()
        return 0.0

    def _gather(self, wait: float) -> list[Result]:
        """Wait for a first result, then until a batch is full or one interval has passed."""
        if self._some.wait(wait):
            self._enough.wait(min(wait, self._settings.flush_interval))
        # Clear before taking the results: one that arrives in between sets it again.
        self._some.clear()
        self._enough.clear()
        count = min(len(self._results), self._settings.flush_batch)
        batch = [self._results.popleft() for _ in range(count)]
        self._announce()
        return batch

    def _announce(self) -> None:
        """Wake the thread, unless it is already awake."""
        if self._results and not self._some.is_set():
            self._some.set()
        if len(self._results) >= self._settings.flush_batch and not self._enough.is_set():
            self._enough.set()

    def _write(self) -> None:
        closed = self._write_all(self._batch)
        self.on_recorded([decision for _, decision in self._batch])
        self._batch = []
        meters.tally()
        for broadcast in closed:
            log.info("broadcast closed", status=broadcast.status, broadcast_id=broadcast.id)

    def _write_all(self, results: list[Result]) -> list[Closed]:
        """Write results in one transaction. If the database refuses it, write them one by one."""
        try:
            with self._database.writing() as db:
                closed = _write(db, results)
        except (DataError, UnicodeError):
            if len(results) == 1 and (plain := _plain(results[0])) != results[0]:
                log.exception(
                    "a result cannot be stored as it is", delivery_id=results[0][1].outcome.id
                )
                return self._write_all([plain])
            if len(results) == 1:
                raise
            half = len(results) // 2
            return self._write_all(results[:half]) + self._write_all(results[half:])
        self._leave_out([decision for _, decision in results if decision.opted_out])
        return closed

    def _leave_out(self, opted_out: list[Decision]) -> None:
        """Fail the waiting deliveries of recipients whom the provider reports as opted out.

        If that fails, the provider reports the opt-out again at the next delivery.
        """
        if opted_out:
            with suppress(*OUT_OF_REACH), self._database.writing() as db:
                decisions.leave_out(db, opted_out, now=now_ms())


def _write(db: Db, results: list[Result]) -> list[Closed]:
    now = now_ms()
    by_claim: dict[str, list[Outcome]] = {}
    for claim_id, decision in results:
        by_claim.setdefault(claim_id, []).append(decision.outcome)
    if any(decision.outcome.status is DeliveryStatus.QUEUED for _, decision in results):
        opted_out.queueing(db)
    closed: list[Closed] = []
    for claim_id, outcomes in by_claim.items():
        closed += transitions.record(db, claim_id, outcomes, now=now)
    decisions.carry_out(db, [decision for _, decision in results], now=now)
    return closed


def _plain(result: Result) -> Result:
    """Drop the provider's texts from a result; keep how many parts it accepted."""
    claim_id, decision = result
    taken = (decision.outcome.message_ids or "").split()
    outcome = decision.outcome._replace(
        message_ids=" ".join(NAMELESS for _ in taken) or None,
        code=None,
        reason=decision.outcome.reason and "The provider's error text could not be stored.",
    )
    return claim_id, Decision(outcome)
