"""The threads that talk to providers: each takes one delivery and sends its parts in order.

No database session is open while a provider is called.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import structlog

from service.channels.base import MANY, SendError, SendsMany
from service.core.deliveries.progress import NAMELESS, unsent
from service.core.deliveries.transitions import Outcome, storable
from service.core.sent_parts import PartSent
from service.core.verdicts import Verdict
from service.database import now_ms
from service.dispatch import pacing, retry
from service.dispatch.crew import Crew
from service.dispatch.gate import Gate
from service.dispatch.lease import Lease
from service.dispatch.loop import Loop
from service.dispatch.recorder import Recorder
from service.dispatch.stock import Stock, Work
from service.dispatch.streaks import Streaks
from service.metrics import meters
from service.models import DeliveryStatus

log = structlog.get_logger(__name__)

_GLANCE = 0.1
"""Seconds between two looks at the threads that wait for their providers."""


class Senders:
    """A pool of plain threads that empty the stock.

    For each that a provider keeps waiting for long a spare one is started, up to as many again, so
    that one session's provider does not take the others' threads.
    """

    def __init__(
        self, threads: int, stock: Stock, recorder: Recorder, lease: Lease, gate: Gate
    ) -> None:
        self._stock = stock
        self._recorder = recorder
        self._lease = lease
        self._gate = gate
        self._size = threads
        self._crew = Crew(threads)
        self._streaks = Streaks()
        # Made when they start: a fork makes every thread that is there look as if it had ended.
        self._threads: list[threading.Thread] = []
        self._spares: list[threading.Thread] = []
        self._late = 0
        self.watch = Loop("watch", self._look)

    def start(self) -> None:
        """Begin."""
        self._threads = _started(self._run, "sender", self._size)

    def join(self, deadline: float) -> int:
        """Wait until a monotonic moment for the sends under way; return how many are not over."""
        self.watch.join(deadline - time.monotonic())  # it starts threads
        self._crew.release()
        for thread in (*self._threads, *self._spares):
            thread.join(max(0.0, deadline - time.monotonic()))
        return self.alive() + len(self.spares())

    def alive(self) -> int:
        """Return how many threads there are."""
        return sum(thread.is_alive() for thread in self._threads)

    def spares(self) -> list[threading.Thread]:
        """Return the threads that stand in for those that wait."""
        return [thread for thread in self._spares if thread.is_alive()]

    def _look(self) -> float:
        """See that as many threads work as are of use; return the seconds until the next look."""
        self._crew.adjust(waits=self._stock.waits())
        self._late = min(self._stock.credit.look(), self._size)
        self._spares = self.spares()
        self._spares += _started(self._help, "spare", self._late - len(self._spares))
        return _GLANCE

    def _help(self, _number: int) -> None:
        while self._late and (works := self._stock.take()):
            self._send(works)

    def _run(self, number: int) -> None:
        while works := self._stock.take(min(self._crew.share, MANY)):
            self._send(works)
            self._crew.wait(number)

    def _send(self, works: list[Work]) -> None:
        """Deliver all at once where that can be, else one after the other."""
        if len(works) == 1 or not self._send_together(works):
            for work in works:
                began = time.perf_counter()
                self._hand_in([work], [self._deliver(work)], began)

    def _send_together(self, works: list[Work]) -> bool:
        """Deliver at once what goes together; tell whether that may be."""
        campaign, credit, began = works[0].campaign, self._stock.credit, time.perf_counter()
        if credit.free(campaign.session_id) is not None or not self._may_send(works[0]):
            return False
        credit.ask(campaign.session_id)
        answers = _answers(works)
        if any(isinstance(answer, str) for answer in answers):
            credit.answered(campaign.session_id)
        now = now_ms()
        verdicts = [self._answered(*each, now) for each in zip(works, answers, strict=True)]
        self._hand_in(works, verdicts, began)
        return True

    def _answered(self, work: Work, answer: str | Exception, now: int) -> Verdict:
        """Judge how the one part of a delivery went."""
        if isinstance(answer, Exception):
            return self._failed(answer, work, [])
        message_ids = [_one_word(answer)]
        return _named(work, retry.sent(work.delivery, message_ids, now=now), message_ids, [0])

    def _hand_in(self, works: list[Work], verdicts: list[Verdict], began: float) -> None:
        """Hand verdicts in, for the tables and for the meters."""
        tried = [verdict.outcome.status for verdict in verdicts if verdict.outcome.tried]
        if DeliveryStatus.SENT in tried:
            self._streaks.end(works[0].campaign.broadcast_id)
        if tried:
            channel, seconds = works[0].campaign.driver.name, time.perf_counter() - began
            self._crew.called(len(tried), seconds)
            meters.attempted(channel, seconds, len(tried), tried.count(DeliveryStatus.QUEUED))
        self._recorder.put(works[0].claim_id, verdicts)

    def _deliver(self, work: Work) -> Verdict:
        """Send what is left of a delivery, if it may still be sent, and judge how it went."""
        delivery, campaign, credit = work.delivery, work.campaign, self._stock.credit
        message_ids = delivery.message_ids.split() if delivery.message_ids else []
        taken: list[int] = []
        try:
            for number in unsent(message_ids, len(campaign.parts)):
                _wait_for_slot(work, number)
                if not self._may_send(work) or (not taken and self._comes_too_late(work)):
                    verdict = Verdict(self._stopped_at(work, message_ids))
                    break
                credit.ask(campaign.session_id)
                message_id = campaign.driver.send(
                    delivery.recipient, campaign.parts[number], _reference(work, number)
                )
                credit.answered(campaign.session_id)
                message_ids[number : number + 1] = [_one_word(message_id)]
                taken.append(number)
            else:
                verdict = retry.sent(delivery, message_ids, now=now_ms())
        except Exception as error:  # noqa: BLE001 - a thread never dies of a driver's defect
            verdict = self._failed(error, work, message_ids)
        return _named(work, verdict, message_ids, taken)

    def _may_send(self, work: Work) -> bool:
        """Tell whether the claim still holds and nothing has shut the way."""
        campaign = work.campaign
        return (
            self._recorder.has_room()
            and self._lease.holds(work.claim_id)
            and self._stock.credit.free(campaign.session_id) != 0
            and self._gate.is_open(campaign.session_id, campaign.broadcast_id)
        )

    def _comes_too_late(self, work: Work) -> bool:
        """Tell whether a delivery should rather not begin: this process ends, or its slot is over.

        What piled up while a provider was slow, or this process frozen, would go out all at once.
        """
        is_late = work.moment and time.time_ns() // 1000 > work.moment + pacing.LATE
        return bool(is_late) or self._stock.is_closed

    def _stopped_at(self, work: Work, message_ids: list[str]) -> Outcome:
        outcome = retry.untried(work.delivery, now=now_ms())
        return outcome._replace(message_ids=" ".join(message_ids) or None)

    def _failed(self, error: Exception, work: Work, message_ids: list[str]) -> Verdict:
        self._stock.credit.refused()
        try:
            verdict = _judged(error, work, message_ids)
        except Exception as defect:  # noqa: BLE001 - nor of an error that a driver made badly
            verdict = _judged(defect, work, message_ids)
        verdict = self._streaks.weigh(verdict)
        if verdict.hold:
            self._gate.shut(verdict.hold)
        return verdict


def _started(target: Callable[[int], None], name: str, count: int) -> list[threading.Thread]:
    """Return so many threads that have begun."""
    threads = [
        threading.Thread(target=target, args=(number,), name=f"crier-{name}-{number}", daemon=True)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads


def _answers(works: list[Work]) -> Sequence[str | Exception]:
    """Have the driver send to several recipients; return its answer for each."""
    messages = [(work.delivery.recipient, _reference(work, 0)) for work in works]
    campaign = works[0].campaign
    try:
        answers = cast("SendsMany", campaign.many).send_many(messages, campaign.parts[0])
    except Exception as error:  # noqa: BLE001 - a thread never dies of a driver's defect
        return [error] * len(works)
    if len(answers) == len(works):
        return answers
    return [ValueError(f"{len(answers)} answers to {len(works)} messages")] * len(works)


def _judged(error: Exception, work: Work, message_ids: list[str]) -> Verdict:
    if not isinstance(error, SendError):
        log.error("defect in a driver", delivery_id=work.delivery.id, exc_info=error)
    campaign = work.campaign
    return retry.judge(
        error, work.delivery, message_ids, campaign.policy, campaign.session_id, now=now_ms()
    )


def _one_word(message_id: Any) -> str:
    """Return a provider's id as it is kept among others, with blanks between, whatever it is."""
    words = storable(str(message_id or ""))
    is_one = words.isprintable() and " " not in words  # as nearly all are
    return (words if is_one else "".join(words.split())) or NAMELESS


def _reference(work: Work, number: int) -> str:
    """Return what a part is known by to its provider."""
    return f"{work.delivery.id}.{number}"


def _named(work: Work, verdict: Verdict, message_ids: list[str], taken: list[int]) -> Verdict:
    """Add the parts taken just now, where receipts will name them by the provider's id alone."""
    if work.campaign.driver.echoes_references:
        return verdict
    session_id, delivery_id = work.campaign.session_id, work.delivery.id
    parts = (
        PartSent(session_id, message_ids[part], delivery_id, part)
        for part in taken
        if message_ids[part] != NAMELESS
    )
    return verdict._replace(parts=tuple(parts))


def _wait_for_slot(work: Work, number: int) -> None:
    """Keep the session's rate between the parts of a delivery, whoever sets the clock meanwhile."""
    if work.moment and number:
        behind_first = number * work.interval
        left = work.moment + behind_first - time.time_ns() // 1000
        time.sleep(min(max(0, left), behind_first) / 1e6)
