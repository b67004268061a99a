"""The sender threads, which call providers. Each has many deliveries under way at once.

A delivery is a conversation (`delivering.deliver`). Before each message leaves, the sender writes
the delivery to the ledger and then checks the lease. The order matters if the process freezes in
between and is presumed dead: either its ledger has the delivery, or its lease has expired when it
wakes. No database session is open during a call to a provider.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog

from service.channels.base import DriverContext
from service.channels.conversations import Conversations, Talk
from service.channels.steps import NotAllowedError
from service.core.decisions import Decision, Hold
from service.core.revocations import ClaimKey
from service.dispatch.lease import Lease
from service.dispatch.sending import retry
from service.dispatch.sending.delivering import broken, deliver, give_back, given_back
from service.dispatch.sending.holds import LocalHolds
from service.dispatch.sending.lanes import Work
from service.dispatch.sending.ledger import Ledger
from service.dispatch.sending.levels import Level
from service.dispatch.sending.limits import Response
from service.dispatch.sending.prepared import PreparedBroadcast
from service.dispatch.sending.queue import ClaimedQueue
from service.dispatch.sending.recorder import Recorder, Result
from service.dispatch.sending.revocations import RevokedClaims
from service.dispatch.sending.streaks import Streaks
from service.metrics import meters
from service.models import DeliveryStatus

log = structlog.get_logger(__name__)

_GLANCE: Final = 0.1
"""Seconds between two checks for late messages."""

_FULL: Final = 0.01
"""Seconds to wait while too many results are unwritten."""


class SendingContext(NamedTuple):
    """The state that all sender threads of a process share."""

    driver_context: DriverContext
    queue: ClaimedQueue
    recorder: Recorder
    lease: Lease
    holds: LocalHolds
    ledger: Ledger
    streaks: Streaks
    revoked: RevokedClaims

    def give_back(self, works: Iterable[Work]) -> None:
        """Release deliveries that have not begun."""
        self.recorder.put((work.claim_id, given_back(work)) for work in works)

    def hold(self, hold: Hold) -> None:
        """Hold a session or a broadcast in this process, before the hold is committed."""
        self.holds.add(hold)
        self.give_back(self.queue.remove(partial(_is_meant, hold)))

    def hold_committed(self, hold: Hold) -> None:
        """Hold in this process what the database already holds."""
        self.hold(hold)
        self.holds.committed([hold])

    def note_recorded(self, decisions: Sequence[Decision]) -> None:
        """Erase recorded deliveries from the ledger, and leave their holds to the database."""
        outcomes = (decision.outcome for decision in decisions)
        self.ledger.erase((outcome.id, outcome.claimed_at) for outcome in outcomes)
        self.holds.committed(decision.hold for decision in decisions if decision.hold)

    def revoke(self, claims: Iterable[ClaimKey]) -> None:
        """Stop these claims from beginning, because their recipients have opted out."""
        # First: a sender may take one of them from the queue in the meantime.
        self.revoked.add(claims)
        self.give_back(self.queue.remove(self.revoked.has))


class Senders:
    """The sender threads of a process."""

    def __init__(self, threads: int, context: SendingContext) -> None:
        self._count = threads
        self._context = context
        self._senders: list[Sender] = []
        context.queue.on_work = self.wake

    def start(self) -> None:
        """Create the threads and their connections, after any fork."""
        self._senders = [Sender(self._context, number) for number in range(self._count)]
        for sender in self._senders:
            sender.thread.start()

    def wake(self) -> None:
        """Make the senders check the queue now."""
        for sender in self._senders:
            sender.wake()

    def has_died(self) -> bool:
        """Return whether a thread has ended unexpectedly."""
        return not all(sender.thread.is_alive() for sender in self._senders)

    def join(self, deadline: float) -> int:
        """Wait for deliveries under way until a monotonic deadline; return how many are left."""
        for sender in self._senders:
            sender.thread.join(max(0.0, deadline - time.monotonic()))
        return sum(len(sender) for sender in self._senders)


class Sender:
    """One thread and its deliveries under way."""

    def __init__(self, context: SendingContext, number: int) -> None:
        self._context = context
        self._conversations = Conversations(context.driver_context, self._may_begin)
        self._under_way: set[Work] = set()
        self._glanced_at = time.monotonic()
        self._level = Level()
        self.wake = self._conversations.wake
        self.thread = threading.Thread(target=self._run, name=f"crier-sender-{number}", daemon=True)

    def __len__(self) -> int:
        """Return how many deliveries are under way."""
        return len(self._under_way)

    def _run(self) -> None:
        queue = self._context.queue
        while self._under_way or not queue.is_closed:
            try:
                self._turn()
            except Exception:
                log.exception("a sender's turn failed")
                time.sleep(_GLANCE)  # a turn that keeps failing must not use up the processor
        self._conversations.close()

    def _turn(self) -> None:
        """Begin deliveries, wait for network events, report ended deliveries."""
        wait = self._begin_some()
        if self._context.queue.is_closed:
            self._conversations.break_pauses(NotAllowedError())
        if ended := self._conversations.turn(wait):
            self._hand_in(ended)
        self._glance()

    def _begin_some(self) -> float:
        """Begin deliveries; return the seconds until the next check of the queue."""
        if not self._context.recorder.has_room():
            return _FULL
        works, wait = self._context.queue.take(self._level.room(len(self._under_way)))
        now, moment = time.monotonic(), time.time_ns() // 1000
        self._under_way.update(works)
        for work in works:
            work.began_at = now
            is_late = work.moment and work.is_late(moment)
            self._conversations.begin(work, give_back(work) if is_late else deliver(work))
        self._conversations.gather(self._level.note(len(self._under_way)))
        return min(wait, _GLANCE) if self._under_way else wait

    def _may_begin(self, work: Work) -> bool:
        """Return whether a message may leave. From here on it may have arrived."""
        context, delivery, broadcast = self._context, work.delivery, work.broadcast
        return (
            context.ledger.mark((delivery.id, delivery.claimed_at))
            and context.lease.holds(work.claim_id)
            # Usually there are none of these three, and no call is made.
            and not (
                context.holds.held
                and not context.holds.allow(
                    broadcast.session_id, broadcast.broadcast_id, delivery.claimed_at
                )
            )
            and not (context.revoked.keys and context.revoked.has(work))
            and not (work.until and work.is_over())
        )

    def _hand_in(self, ended: list[Talk]) -> None:
        """Report ended deliveries to the recorder, the metrics and the limits."""
        works: list[Work] = []
        results: list[Result] = []
        endings: dict[tuple[PreparedBroadcast, Response, int], list[float]] = {}
        for talk in ended:
            work = talk.token
            decision, response = talk.result or broken(
                work, talk.error or ValueError("no decision")
            )
            outcome = decision.outcome
            if outcome.status is not DeliveryStatus.SENT:
                decision = self._follow(work, decision)
            elif self._context.streaks.known:
                self._context.streaks.end(work.broadcast.broadcast_id)
            works.append(work)
            results.append((work.claim_id, decision))
            ending = (work.broadcast, response, outcome.tried)
            if ending in endings:
                endings[ending].append(work.began_at)
            else:
                endings[ending] = [work.began_at]
        self._under_way.difference_update(works)
        self._context.queue.settle(
            (broadcast.session_id, response, began)
            for (broadcast, response, _), began in endings.items()
        )
        now = time.monotonic()
        for (broadcast, _, tried), began in endings.items():
            if tried:
                meters.attempted({broadcast.driver.name: [now - each for each in began]})
        self._context.recorder.put(results)

    def _follow(self, work: Work, decision: Decision) -> Decision:
        """Act on a decision that is not `sent`; return it as other decisions adjust it."""
        decision = self._weigh(work, decision)
        if decision.outcome.tried and decision.outcome.status is DeliveryStatus.QUEUED:
            meters.retried(work.broadcast.driver.name)
        if decision.hold:
            self._context.hold(decision.hold)
        return decision

    def _weigh(self, work: Work, decision: Decision) -> Decision:
        """Adjust a decision to the other decisions on the same broadcast.

        An unknown code that repeats too often pauses the broadcast. A delivery refused after that
        pause is queued again rather than failed.
        """
        context = self._context
        if not (decision.is_unknown or (decision.hold and decision.hold.broadcast_id)):
            return decision
        if not context.holds.allow("", work.broadcast.broadcast_id, work.delivery.claimed_at):
            return retry.spared(decision)
        return context.streaks.weigh(decision)

    def _glance(self) -> None:
        """Find the sessions that do not answer."""
        now = time.monotonic()
        if now < self._glanced_at + _GLANCE:
            return
        began: dict[str, list[float]] = {}
        for work in self._under_way:
            began.setdefault(work.broadcast.session_id, []).append(work.began_at)
        idle = sum(each < now - _GLANCE for moments in began.values() for each in moments)
        self._level.adjust(self._conversations.waited, now - self._glanced_at, idle)
        self._glanced_at = now
        self._context.queue.note_waits(self, began)


def _is_meant(hold: Hold, work: Work) -> bool:
    broadcast = work.broadcast
    return hold.session_id == broadcast.session_id or hold.broadcast_id == broadcast.broadcast_id
