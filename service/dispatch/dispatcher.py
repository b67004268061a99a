"""The dispatcher: the threads of one process that turn accepted broadcasts into sent messages.

    POST → chunks → FanOut → deliveries → Claimer → Stock → Senders → Recorder → deliveries
                                              Lease and Sweep look after what went wrong

Any number of processes do the same on one database, without a leader.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from service.config import Settings
from service.core.accounts import Accounts
from service.core.verdicts import Verdict
from service.database import OUT_OF_REACH, Database, now_ms
from service.dispatch import retry
from service.dispatch.campaigns import Campaigns
from service.dispatch.checkup import Checkup
from service.dispatch.claimer import Claimer
from service.dispatch.fanout import FanOut
from service.dispatch.gate import Gate
from service.dispatch.lease import Lease
from service.dispatch.listener import Listener
from service.dispatch.loop import Loop
from service.dispatch.receipts import Receipts
from service.dispatch.recorder import Recorder
from service.dispatch.sender import Senders
from service.dispatch.stock import Stock
from service.dispatch.sweep import Sweep

log = structlog.get_logger(__name__)

_LEAST_GRACE = 2.0
"""Seconds for writing the last results, however late the stop comes."""

_LAST_TURNS = 1.0
"""Seconds for the turns under way of loops that may be cut short."""


class Dispatcher:
    """The parts of dispatching, joined; started once per process, after any fork."""

    def __init__(self, settings: Settings, database: Database, accounts: Accounts) -> None:
        self._settings = settings
        self._lease = Lease(database, settings.lease)
        gate = Gate()
        self._stock = Stock(settings.sender_threads, 2 * settings.claim_batch)
        self._recorder = Recorder(settings, database)
        self._senders = Senders(
            settings.sender_threads, self._stock, self._recorder, self._lease, gate
        )
        campaigns = Campaigns(settings, database, accounts)
        self._claimer = Claimer(
            settings, database, self._lease, self._stock, campaigns, gate, self._beat_now
        )
        self._claiming = Loop("claimer", self._claimer.turn)
        self._fanout = FanOut(settings, database, self._claim_anew)
        self._fanning_out = Loop("fan-out", self._fanout.turn)
        sweep = Sweep(settings, database, accounts, self._claim_anew)
        self._sweeping = Loop("sweep", sweep.turn)
        receipts = Receipts(settings, database, self._claim_anew, gate.shut)
        self._receiving = Loop("receipts", receipts.turn)
        checkup = Checkup(settings, database, accounts, self._claim_anew)
        self._checking = Loop("checkup", checkup.turn, patience=600.0)
        self._listener = Listener(settings, database, self.wake)
        self._listening = Loop("listener", self._listener.turn)
        self._beating = Loop("lease", self._lease.turn)
        self._lease.on_dead = self._sweeping.wake
        self._recorder.on_rate = self._stock.learn
        self._stock.on_low = self._claiming.wake
        self._started = False
        self._drained_at: float | None = None

    def limit_to(self, assigned: Callable[[], list[str]]) -> None:
        """Claim only of the broadcasts whose ids this returns at the moment, from now on."""
        self._claimer.assigned = assigned

    def start(self) -> None:
        """Enter this process among the dispatchers and begin.

        Where the database is away it enters when that is back: a process that ended instead would
        take the whole of gunicorn with it, which does not start a worker twice that cannot boot.
        """
        try:
            self._lease.join()
        except OUT_OF_REACH as error:
            log.warning("the database is out of reach at the start", cause=str(error.__cause__))
        self._started = True
        for loop in self._loops():
            loop.start()
        self._senders.start()
        log.info("dispatcher started", dispatcher=self._lease.id)

    def wake(self) -> None:
        """Look for work now: a broadcast was accepted, or may go on."""
        self._fanning_out.wake()
        self._claim_anew()

    def _claim_anew(self) -> None:
        """Look for what may be claimed now."""
        self._claimer.look_again()
        self._claiming.wake()

    def drain(self) -> None:
        """Claim nothing more; what is claimed is still sent. May be called in a signal handler."""
        self._drained_at = self._drained_at or time.monotonic()
        self._claimer.draining = True
        self._fanout.draining = True

    def stop(self, timeout: float) -> bool:
        """Stop: let sends under way finish, write all results; tell whether all was in time.

        What was claimed and not begun goes back to the queue. `timeout` in seconds, counted from
        `drain` where that came first.
        """
        if not self._started:
            return True
        self.drain()
        deadline = max((self._drained_at or 0.0) + timeout, time.monotonic() + _LEAST_GRACE)
        for loop in self._loops():
            if loop not in {self._beating, self._recorder.loop}:
                loop.stop()
        self._claiming.join(deadline - time.monotonic())
        for work in self._stock.close():
            self._recorder.put(work.claim_id, [Verdict(retry.untried(work.delivery, now=now_ms()))])
        self._recorder.close()
        under_way = self._senders.join(deadline - 1.0)
        in_time = self._recorder.drain(deadline) and not under_way
        self._listener.hush()
        self._beating.stop()
        last = time.monotonic() + _LAST_TURNS
        for loop in self._loops():
            loop.join(last - time.monotonic())
        self._listener.close()
        self._leave()
        self._started = False
        log.info("dispatcher stopped", dispatcher=self._lease.id, under_way=under_way)
        return in_time

    def problem(self) -> str | None:
        """Say what keeps this process from dispatching; None: nothing."""
        if not self._started:
            return "The dispatcher of this process has not been started: use gunicorn.conf.py."
        for loop in self._loops():
            if loop.stands_still():
                return f"The {loop.name} loop has stood still for {loop.patience:.0f} seconds."
        if not self._lease.is_good():
            return "The dispatcher cannot reach the database and sends nothing meanwhile."
        if self._senders.alive() < self._settings.sender_threads:
            return "A sender thread has died."
        return None

    def _loops(self) -> tuple[Loop, ...]:
        return (
            self._beating,
            self._sweeping,
            self._fanning_out,
            self._claiming,
            self._stock.pacer,
            self._senders.watch,
            self._recorder.loop,
            self._receiving,
            self._checking,
            self._listening,
        )

    def _leave(self) -> None:
        """Say that this process is gone; where that cannot be said, others notice by themselves."""
        try:
            self._lease.leave()
        except OUT_OF_REACH as error:
            log.warning("the database is out of reach at the end", cause=str(error.__cause__))

    def _beat_now(self) -> None:
        self._beating.wake()
