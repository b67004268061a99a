"""The checkup: checks periodically whether blocked sessions can send again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from service.config import Settings
from service.core import holding
from service.core.accounts import Accounts
from service.database import Database
from service.dispatch.upkeep import checks
from service.dispatch.upkeep.relapses import Relapses
from service.models import Session

log = structlog.get_logger(__name__)

_LONGEST_TURN = 300.0
"""The longest turn in seconds. A loop that takes much longer counts as dead."""


@dataclass(slots=True)
class Checkup:
    """Resumes sessions that can send again, without an operator."""

    settings: Settings
    database: Database
    accounts: Accounts
    on_ready: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    _relapses: Relapses = field(init=False)

    def __post_init__(self) -> None:
        """Begin without a past."""
        self._relapses = Relapses(self.settings.check_interval)

    def turn(self) -> float:
        """Ask the providers of blocked sessions; return the seconds until the next time.

        In any order, as a turn may be over before all were asked: some providers do not answer.
        A session that was released lately and is blocked again has to wait longer each time.
        """
        began = self.clock()
        with self.database.reading() as db:
            blocked = holding.blocked(db)
        sessions = [each for each in blocked if self._relapses.may_release(each.id, began)]
        random.shuffle(sessions)
        while sessions and self.clock() < began + _LONGEST_TURN:
            self._check(sessions.pop())
        return self.settings.check_interval

    def _check(self, session: Session) -> None:
        if checks.check(self.accounts, self.database, session) is None:
            self._relapses.note_release(session.id, self.clock())
            log.info("session sends again", session_id=session.id)
            self.on_ready()
