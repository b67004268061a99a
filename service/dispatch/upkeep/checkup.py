"""The checkup: checks periodically whether blocked sessions and templates can be used again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

from service.channels.conversations import Talk
from service.channels.steps import Conversation
from service.config import Settings
from service.core import holding, template_holds
from service.core.accounts import Accounts
from service.database import Database, now_ms
from service.dispatch.upkeep import checks, listing
from service.dispatch.upkeep.relapses import Relapses
from service.dispatch.upkeep.talks import Talks
from service.models import Session

log = structlog.get_logger(__name__)


class _Question(NamedTuple):
    """A question to a session's provider. Those about the same session are the same."""

    session: Session
    ask: Callable[[Accounts, Session], Conversation[Any]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Question) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, object]:
        return self.session.id, self.ask


@dataclass(slots=True)
class Checkup:
    """Resumes sessions that can send again, without an operator.

    Many are asked at the same time: a provider that does not answer keeps no other one waiting. A
    session that was released lately and is blocked again has to wait longer each time.
    """

    settings: Settings
    database: Database
    accounts: Accounts
    on_ready: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    _relapses: Relapses = field(init=False)
    _talks: Talks = field(init=False)
    _asked: set[_Question] = field(default_factory=set, init=False)
    _next_at: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        """Begin without a past."""
        self._relapses = Relapses(self.settings.check_interval)
        self._talks = Talks(self.accounts)

    def turn(self) -> float:
        """Ask the providers of blocked sessions; return the seconds until the next turn."""
        if self.clock() >= self._next_at:
            self._next_at = self.clock() + self.settings.check_interval
            self._ask_all()
        ended = self._talks.turn()
        self._asked.difference_update(talk.token for talk in ended)
        for talk in ended:
            self._settle(talk)
        return 0.0 if len(self._talks) else max(0.0, self._next_at - self.clock())

    def close(self) -> None:
        """Abort the checks under way."""
        self._talks.close()

    def _ask_all(self) -> None:
        """Ask about blocked sessions, and about templates that broadcasts wait for."""
        with self.database.reading() as db:
            blocked = holding.blocked(db)
            outdated = template_holds.outdated(db, now=now_ms())
        for session in blocked:
            if self._relapses.may_release(session.id, self.clock()):
                self._ask(_Question(session, checks.question))
        for session in outdated:
            # A webhook may not tell.
            self._ask(_Question(session, listing.question))

    def _ask(self, question: _Question) -> None:
        """Ask a provider, unless the answer to the same question is still awaited."""
        if question not in self._asked:
            self._asked.add(question)
            conversation = question.ask(self.accounts, question.session)
            self._talks.add(question.session.client_id, question, conversation)

    def _settle(self, talk: Talk) -> None:
        session = talk.token.session
        if talk.token.ask is listing.question:
            if talk.error is None:
                listing.keep(self.database, session, talk.result)
                self.on_ready()
        elif checks.conclude(self.database, session, talk.error) is None:
            self._relapses.note_release(session.id, self.clock())
            log.info("session sends again", session_id=session.id)
            self.on_ready()
