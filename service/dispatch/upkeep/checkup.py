"""The checkup: checks periodically whether blocked sessions and templates can be used again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from service.config import Settings
from service.core import holding, template_holds
from service.core.accounts import Accounts
from service.database import Database, now_ms
from service.dispatch.upkeep import checks, listing
from service.dispatch.upkeep.relapses import Relapses
from service.errors import ProviderError
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
        self._list_templates(began)
        return self.settings.check_interval

    def _list_templates(self, began: float) -> None:
        """Ask about the templates that broadcasts wait for: a webhook may not tell."""
        with self.database.reading() as db:
            sessions = [*template_holds.outdated(db, now=now_ms())]
        while sessions and self.clock() < began + _LONGEST_TURN:
            with suppress(ProviderError):
                listing.refresh(self.accounts, self.database, sessions.pop())
                self.on_ready()

    def _check(self, session: Session) -> None:
        if checks.check(self.accounts, self.database, session) is None:
            self._relapses.note_release(session.id, self.clock())
            log.info("session sends again", session_id=session.id)
            self.on_ready()
