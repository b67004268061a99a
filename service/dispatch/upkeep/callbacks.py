"""The turn in which events are posted to callbacks.

Many are under way at once in one thread. A receiver that never answers has one request at a time,
and however many such receivers there are, half of the room is kept for those that answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from service.channels.answers import Answer
from service.channels.base import DriverContext
from service.channels.conversations import Talk
from service.channels.errors import SendError
from service.channels.steps import Conversation, post
from service.core import callbacks, posting
from service.core.accounts import Accounts
from service.core.deliveries.transitions import storable
from service.core.posting import DueEvent, PostingSlots, Result
from service.core.vault import SealedError
from service.database import Database, now_ms
from service.dispatch.upkeep.errands import Errands
from service.models import Callback

log = structlog.get_logger(__name__)

TIMEOUT: Final = 10.0
"""Seconds within which a receiver must have answered."""

_UNDER_WAY: Final = 128
_OF_FAILING: Final = 64
"""Requests under way in a process: in all, and to callbacks that fail."""

_RESPONSE: Final = 65_536
"""Bytes of an answer that are read; nothing is done with them."""

_TIDYING: Final = 60_000
"""Milliseconds between two looks for old events and for callbacks with too many."""

_FORGOTTEN: Final = 1_000


class Callbacks:
    """Posts due events; `clock` returns Unix milliseconds."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        clock: Callable[[], int] = now_ms,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock
        self._draw = draw
        self._errands = Errands(self._context, _UNDER_WAY)
        self._failing = 0
        self._tidy_at = 0

    def _context(self) -> DriverContext:
        usual = self._accounts.channels.context
        return replace(usual, send_timeout=TIMEOUT, response_limit=_RESPONSE)

    def turn(self) -> float:
        """Post due events and store results; return the seconds until the next turn."""
        self._tidy()
        for due in self._claim():
            self._begin(due)
        if not self._errands.counts:
            return self._accounts.settings.poll_interval
        self._settle([self._result(each) for each in self._errands.turn()])
        return 0.0

    def close(self) -> None:
        """Abort requests under way. Their events are posted again after the lease."""
        self._errands.close()

    def _claim(self) -> list[DueEvent]:
        """Take due events for which there is room.

        If none are due, this only reads.
        """
        room = PostingSlots(self._errands.room, _OF_FAILING - self._failing)
        if room.all <= 0:
            return []
        with self._database.reading() as db:
            if not posting.is_due(db, now=self._clock()):
                return []
        with self._database.writing() as db:
            return posting.claim(db, room=room, under_way=self._errands.counts, now=self._clock())

    def _begin(self, due: DueEvent) -> None:
        self._failing += due.is_failing
        self._errands.begin(due.callback_id, due, self._post(due))

    def _post(self, due: DueEvent) -> Conversation[Answer]:
        secret = self._accounts.opened(due.secrets)["secret"]
        headers = callbacks.headers(secret, due.event_id, due.body, now=self._clock())
        answer: Answer = yield post(due.url, due.body.encode(), headers)
        return answer

    def _result(self, ended: Talk) -> Result:
        due: DueEvent = ended.token
        self._failing -= due.is_failing
        if ended.error is not None:
            return Result(due, storable(_problem(ended.error)))
        answer: Answer = ended.result
        if answer.accepted:
            return Result(due, status=answer.status)
        wait = round(answer.wait * 1000)
        return Result(due, f"The receiver answered {answer.status}.", answer.status, wait)

    def _settle(self, results: list[Result]) -> None:
        for result in results:
            with self._database.writing() as db:
                paused = posting.settle(db, result, now=self._clock(), draw=self._draw)
            if paused is not None:
                _log_pause(paused)

    def _tidy(self) -> None:
        """Delete old events and pause the callbacks for which too many wait, once a minute.

        If more old events are left, the next turn goes on.
        """
        if (now := self._clock()) < self._tidy_at:
            return
        with self._database.writing() as db:
            if posting.forget(db, before=now - posting.KEPT_FOR, limit=_FORGOTTEN) == _FORGOTTEN:
                return
        self._tidy_at = now + _TIDYING
        with self._database.writing() as db:
            full = posting.pause_full(db, now=now)
        for callback in full:
            _log_pause(callback)


def _log_pause(callback: Callback) -> None:
    log.warning("callback paused", callback_id=callback.id, reason=callback.reason)


def _problem(error: Exception) -> str:
    match error:
        case SendError():
            return error.reason.replace("provider", "receiver")
        case SealedError():
            return error.message
        case _:
            log.error("an event cannot be posted", exc_info=error)
            return f"Crier had an internal error ({type(error).__name__})."
