"""The dispatcher: the threads of one process that turn accepted broadcasts into sent messages.

    POST → chunks → FanOut → deliveries → Claimer → ClaimedQueue → Senders → Recorder → deliveries
                                              Lease and Sweep repair what goes wrong

Any number of processes can do this on one database. There is no leader.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import partial

import structlog

from service.config import Settings
from service.core.accounts import Accounts
from service.core.signals import Signal
from service.core.storage import Storage
from service.database import OUT_OF_REACH, Database
from service.dispatch.lease import Lease
from service.dispatch.listener import Listener
from service.dispatch.loop import Loop
from service.dispatch.sending.claimer import Claimer
from service.dispatch.sending.holds import LocalHolds
from service.dispatch.sending.ledger import Ledger
from service.dispatch.sending.prepared import PreparedBroadcasts
from service.dispatch.sending.queue import ClaimedQueue
from service.dispatch.sending.recorder import MOST_UNWRITTEN, Recorder
from service.dispatch.sending.revocations import Revocations, RevokedClaims, await_end
from service.dispatch.sending.rooms import PLACES
from service.dispatch.sending.sender import Senders, SendingContext
from service.dispatch.sending.streaks import Streaks
from service.dispatch.upkeep.callbacks import Callbacks
from service.dispatch.upkeep.checkup import Checkup
from service.dispatch.upkeep.courses import Courses
from service.dispatch.upkeep.fanout import FanOut
from service.dispatch.upkeep.inbound_files import InboundFiles
from service.dispatch.upkeep.links import LinkKeeper
from service.dispatch.upkeep.receipts import Receipts
from service.dispatch.upkeep.replies import Replies
from service.dispatch.upkeep.sweep import Sweep

log = structlog.get_logger(__name__)

_LEAST_GRACE = 2.0
"""Minimum seconds for writing the last results, even if the stop comes late."""

_LAST_TURNS = 1.0
"""Seconds to wait for the running turns of loops that may be interrupted."""

_MOST_THREADS = 8
"""Maximum useful sender threads: Python runs one at a time."""

_DESCRIPTORS = 256
"""File descriptors that a process needs in addition to those of messages under way."""


class Dispatcher:
    """Connects the parts of dispatching. Start it once per process, after any fork."""

    def __init__(self, settings: Settings, database: Database, accounts: Accounts) -> None:
        self._settings = settings
        self._database = database
        self._lease = Lease(database, settings.lease)
        self._ledger = Ledger(settings.ledgers_dir, _places(settings))
        self._queue = ClaimedQueue(settings.in_flight, settings.claim_batch)
        self._recorder = Recorder(settings, database)
        self._context = SendingContext(
            accounts.channels.context,
            self._queue,
            self._recorder,
            self._lease,
            LocalHolds(),
            self._ledger,
            Streaks(),
            RevokedClaims(),
        )
        self._senders = Senders(min(settings.sender_threads, _MOST_THREADS), self._context)
        broadcasts = PreparedBroadcasts(settings, database, accounts)
        self._claimer = Claimer(settings, database, self._context, broadcasts, self._beat_now)
        self._claiming = Loop("claimer", self._claimer.turn)
        self._fanout = FanOut(settings, database, self._claim_anew)
        self._fanning_out = Loop("fan-out", self._fanout.turn)
        sweep = Sweep(settings, database, accounts, self._claim_anew)
        self._sweeping = Loop("sweep", sweep.turn)
        receipts = Receipts(settings, database, self._claim_anew, self._context.hold_committed)
        self._receiving = Loop("receipts", receipts.turn)
        self._replies = Replies(settings, database, accounts)
        self._answering = Loop("replies", self._replies.turn)
        courses = Courses(settings, database, accounts.channels, self._claim_anew)
        self._going_on = Loop("courses", courses.turn)
        revocations = Revocations(database, self._lease, self._context.revoke)
        self._revoking = Loop("revocations", revocations.turn)
        self._checkup = Checkup(settings, database, accounts, self._claim_anew)
        self._checking = Loop("checkup", self._checkup.turn)
        self._callbacks = Callbacks(database, accounts)
        self._calling_back = Loop("callbacks", self._callbacks.turn)
        self._files = InboundFiles(database, accounts, Storage(settings))
        self._fetching = Loop("files", self._files.turn)
        self._keeper = LinkKeeper(database, accounts, self._lease, partial(await_end, database))
        self._linking = Loop("links", self._keeper.turn)
        accounts.channels.context.links.on_up = self._claim_anew
        self._listener = Listener(settings, database, self._heed)
        self._listening = Loop("listener", self._listener.turn)
        self._beating = Loop("lease", self._lease.turn)
        self._lease.on_dead = self._sweeping.wake
        self._lease.on_join = self._ledger.open
        self._recorder.on_recorded = self._context.note_recorded
        self._queue.on_low = self._claiming.wake
        self._started = False
        self._drained_at: float | None = None

    def limit_to(self, assigned: Callable[[], list[str]]) -> None:
        """Claim only from the broadcasts whose ids `assigned` returns at each turn."""
        self._claimer.assigned = assigned

    def start(self) -> None:
        """Register this process as a dispatcher and start its threads.

        If the database is unreachable, it registers later. Raising here would stop gunicorn, which
        does not restart a worker that fails to boot.
        """
        _check_resources(self._settings)
        try:
            self._lease.join()
        except OUT_OF_REACH as error:
            log.warning("the database is unreachable at startup", cause=str(error.__cause__))
        self._started = True
        for loop in self._loops():
            loop.start()
        self._senders.start()
        log.info("dispatcher started", dispatcher=self._lease.id)

    def wake(self) -> None:
        """Look for work now: a broadcast was accepted or resumed."""
        self._fanning_out.wake()
        self._claim_anew()

    def _heed(self, signal: Signal) -> None:
        match signal:
            case Signal.WORK:
                self.wake()
            case Signal.REVOKED:
                self._revoking.wake()

    def _claim_anew(self) -> None:
        """Look for deliveries to claim now."""
        self._claimer.look_again()
        self._claiming.wake()

    def drain(self) -> None:
        """Stop claiming; send what is already claimed. Safe to call in a signal handler."""
        self._drained_at = self._drained_at or time.monotonic()
        self._claimer.draining = True
        self._fanout.draining = True

    def stop(self, timeout: float, least: float = _LEAST_GRACE) -> bool:
        """Finish the sends under way and write all results; return whether that was in time.

        Claims that have not begun go back to the queue. `timeout` is in seconds and starts at
        `drain` if that was called before; there are at least `least` seconds from now on.
        """
        if not self._started:
            return True
        self.drain()
        deadline = max((self._drained_at or 0.0) + timeout, time.monotonic() + least)
        for loop in self._loops():
            if loop not in {self._beating, self._recorder.loop}:
                loop.stop()
        self._claiming.join(deadline - time.monotonic())
        self._context.give_back(self._queue.close())
        under_way = self._senders.join(deadline - 1.0)
        self._linking.join(deadline - time.monotonic())
        self._keeper.close()
        all_written = self._recorder.drain(deadline)
        self._listener.hush()
        self._beating.stop()
        last = time.monotonic() + _LAST_TURNS
        for loop in self._loops():
            loop.join(last - time.monotonic())
        self._listener.close()
        self._callbacks.close()
        self._files.close()
        self._checkup.close()
        self._replies.close()
        self._leave()
        self._ledger.close(all_written=all_written)
        self._started = False
        log.info("dispatcher stopped", dispatcher=self._lease.id, under_way=under_way)
        return all_written and not under_way

    def problem(self) -> str | None:
        """Return the problem that stops this process from dispatching, if there is one."""
        if not self._started:
            return "The dispatcher has not started."
        for loop in self._loops():
            if loop.stands_still():
                return f"The {loop.name} loop has made no progress for {loop.patience:.0f} seconds."
        if not self._lease.is_good():
            return "The dispatcher cannot reach the database. It sends nothing until it can."
        if self._senders.has_died():
            return "A sender thread has died."
        return None

    def _loops(self) -> tuple[Loop, ...]:
        return (
            self._beating,
            self._sweeping,
            self._fanning_out,
            self._claiming,
            self._recorder.loop,
            self._receiving,
            self._going_on,
            self._answering,
            self._revoking,
            self._checking,
            self._calling_back,
            self._fetching,
            self._linking,
            self._listening,
        )

    def _leave(self) -> None:
        """Unregister this process. If that fails, others notice when its lease expires."""
        try:
            self._lease.leave()
        except OUT_OF_REACH as error:
            log.warning("the database is unreachable at shutdown", cause=str(error.__cause__))

    def _beat_now(self) -> None:
        self._beating.wake()


def _places(settings: Settings) -> int:
    """Return the maximum of deliveries that are under way or not yet recorded."""
    return (
        PLACES * settings.in_flight + MOST_UNWRITTEN * settings.flush_batch + settings.claim_batch
    )


def _check_resources(settings: Settings) -> None:
    """Raise the limit of open files to one connection per message, or log what to change."""
    if settings.sender_threads > _MOST_THREADS:
        log.warning(
            "SENDER_THREADS is above the useful maximum; IN_FLIGHT limits messages under way",
            sender_threads=settings.sender_threads,
            used=_MOST_THREADS,
        )
    needed = PLACES * settings.in_flight + _DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        log.warning("IN_FLIGHT needs more file descriptors: raise `ulimit -n`", needed=needed)
        needed = hard
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
