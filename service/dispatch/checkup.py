"""The turn in which blocked sessions are asked whether they can send again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from service.config import Settings
from service.core import checkup
from service.core.accounts import Accounts
from service.database import Database
from service.models import Session

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Checkup:
    """Lets the deliveries of a mended session go on without anybody's doing."""

    settings: Settings
    database: Database
    accounts: Accounts
    on_ready: Callable[[], None]

    def turn(self) -> float:
        """Ask the providers of all blocked sessions; return the seconds until the next time."""
        for session in checkup.blocked(self.database):
            self._check(session)
        return self.settings.check_interval

    def _check(self, session: Session) -> None:
        if checkup.check(self.accounts, self.database, session) is None:
            log.info("session sends again", session_id=session.id)
            self.on_ready()
