"""One delivery, from its first unsent part to its decision."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from typing import Any

import structlog

from service.channels.base import Held
from service.channels.errors import BlockedError, SendError
from service.channels.steps import NotAllowedError, Pause, Step
from service.core.decisions import Decision
from service.core.deliveries.progress import NAMELESS, unsent
from service.core.sent_parts import PartSent
from service.core.waiting import LONGEST_WORD, one_word
from service.database import now_ms
from service.dispatch.sending import retry
from service.dispatch.sending.lanes import Work
from service.dispatch.sending.limits import Response

log = structlog.get_logger(__name__)

_SILENT = frozenset({"no_answer", "unreachable"})
"""The error codes for a provider that did not answer."""


_IS_WORD = re.compile(rf"[!-~]{{1,{LONGEST_WORD}}}").fullmatch

Delivered = tuple[Decision, Response]
"""The decision on a delivery, and how its end changes the session's limit."""


def deliver(work: Work) -> Generator[Step, Any, Delivered]:
    """Send the remaining parts of a delivery, one after another; raises nothing."""
    delivery, broadcast = work.delivery, work.broadcast
    message_ids = delivery.message_ids.split() if delivery.message_ids else []
    taken: list[int] = []
    response, is_held = Response.ANSWER, False
    try:
        for number in unsent(message_ids, len(broadcast.parts)):
            if taken and work.moment:
                yield Pause(_until_slot(work, number), may_break=True)
            message_id = yield from broadcast.driver.send(
                delivery.recipient, broadcast.part(number, delivery), f"{delivery.id}.{number}"
            )
            message_ids[number : number + 1] = [_one_word(message_id)]
            taken.append(number)
            is_held |= type(message_id) is Held
        decide = retry.held if is_held else retry.sent
        decision = decide(delivery, message_ids, now=now_ms())
    except NotAllowedError:
        decision, response = given_back(work, message_ids), Response.NOTHING
    except Exception as error:  # noqa: BLE001 - a bug in a driver must not end the thread
        decision, response = _failed(error, work, message_ids), _response(error)
    if not broadcast.driver.echoes_references:
        decision = _with_names(work, decision, message_ids, taken)
    return decision, response


def give_back(work: Work) -> Generator[Step, Any, Delivered]:
    """Release a delivery without sending it."""
    yield from ()
    return given_back(work), Response.NOTHING


def broken(work: Work, error: Exception) -> Delivered:
    """Return the decision on a delivery that a bug interrupted."""
    return _failed(error, work, []), Response.NOTHING


def given_back(work: Work, message_ids: list[str] | None = None) -> Decision:
    """Return the decision on a delivery that may not be sent now. It keeps its accepted parts."""
    outcome = retry.untried(work.delivery, now=now_ms())
    if message_ids is not None:
        outcome = outcome._replace(message_ids=" ".join(message_ids) or None)
    return Decision(outcome)


def _failed(error: Exception, work: Work, message_ids: list[str]) -> Decision:
    try:
        return _judged(error, work, message_ids)
    except Exception as defect:  # noqa: BLE001 - nor may a malformed error from a driver
        return _judged(defect, work, message_ids)


def _judged(error: Exception, work: Work, message_ids: list[str]) -> Decision:
    if not isinstance(error, SendError):
        log.error("bug in a driver", delivery_id=work.delivery.id, exc_info=error)
    broadcast = work.broadcast
    return retry.judge(
        error, work.delivery, message_ids, broadcast.policy, broadcast.session_id, now=now_ms()
    )


def _response(error: Exception) -> Response:
    """Return how an error changes the session's limit."""
    if isinstance(error, BlockedError):
        return Response.TROUBLE
    is_silent = isinstance(error, SendError) and error.code in _SILENT
    return Response.TROUBLE if is_silent else Response.ANSWER


def _one_word(message_id: Any) -> str:
    """Return a provider's id as one word: ids are stored in a list separated by spaces."""
    if type(message_id) is str and _IS_WORD(message_id):  # the usual case
        return message_id
    return one_word(str(message_id or "")) or NAMELESS


def _with_names(
    work: Work, decision: Decision, message_ids: list[str], taken: list[int]
) -> Decision:
    """Add the parts just accepted, if receipts will name them only by the provider's id."""
    session_id, delivery_id = work.broadcast.session_id, work.delivery.id
    parts = (
        PartSent(session_id, message_ids[part], delivery_id, part)
        for part in taken
        if message_ids[part] != NAMELESS
    )
    return decision._replace(parts=tuple(parts))


def _until_slot(work: Work, number: int) -> float:
    """Return the seconds until a part's slot, even if the clock was set meanwhile."""
    behind_first = number * work.interval
    left = work.moment + behind_first - time.time_ns() // 1000
    return min(max(0, left), behind_first) / 1e6
