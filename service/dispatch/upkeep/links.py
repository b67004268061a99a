"""The turns in which this process takes links, and keeps those that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, cast

import structlog

from service.channels.base import LinkedDriver
from service.channels.registry import LINKED
from service.channels.webhooks import Report
from service.core import inbox, inbox_sessions, links
from service.core.accounts import Accounts
from service.core.dispatchers import LostClaimError
from service.core.links import Linked
from service.core.revocations import ClaimKey
from service.core.vault import SealedError
from service.database import Database, now_ms
from service.dispatch.lease import Lease
from service.models import Session

log = structlog.get_logger(__name__)

_INTERVAL: Final = 1.0
"""Seconds between two turns: how long a session waits for a process that takes its link."""


class _Kept(NamedTuple):
    """The session of a link as it was opened."""

    version: int
    settings: Mapping[str, Any]


class GoneError(Exception):
    """This session no longer exists."""


@dataclass(slots=True)
class LinkKeeper:
    """Keeps links. A process takes links without a keeper. They become free when it is gone.

    `await_end` waits until opt-outs are heard by all processes.
    """

    database: Database
    accounts: Accounts
    lease: Lease
    await_end: Callable[[Sequence[ClaimKey]], None]
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def turn(self) -> float:
        """Take, open and close links; return the seconds until the next turn."""
        channels = LINKED.intersection(self.accounts.channels.names())
        if not channels:
            return 60 * _INTERVAL
        mine = self._mine(channels) if self.lease.is_good() else {}
        for session_id in self._kept.keys() - mine.keys():
            self._close(session_id)
        for session_id, version in mine.items():
            self._keep(session_id, version)
        return _INTERVAL

    def close(self) -> None:
        """Close all links: other processes may take them."""
        self.accounts.channels.context.links.close()
        self._kept.clear()

    def _mine(self, channels: frozenset[str]) -> dict[str, int]:
        """Take some of the free links; return the versions of the sessions whose links are ours."""
        needed = self._needed(channels)
        if free := [each.session_id for each in needed if not each.keeper]:
            self._take(free)
            needed = self._needed(channels)
        return {each.session_id: each.version for each in needed if each.keeper == self.lease.id}

    def _needed(self, channels: frozenset[str]) -> list[Linked]:
        with self.database.reading() as db:
            return links.needed(db, channels)

    def _take(self, free: list[str]) -> None:
        try:
            with self.database.writing() as db:
                links.take(db, self.lease.id, free[: links.share(db, len(free))])
        except LostClaimError:
            log.warning("no links are taken: this process was taken for dead")

    def _keep(self, session_id: str, version: int) -> None:
        """Open a link, or open it again if the settings have changed."""
        kept = self._kept.get(session_id)
        if kept and kept.version == version:
            return
        with self.database.reading() as db:
            session = db.get(Session, session_id)
        if session is None:
            return
        try:
            settings = self.accounts.settings_of(session)
        except SealedError:
            log.exception("a session cannot be opened", session_id=session_id)
            return
        if kept and kept.settings != settings:
            self._close(session_id)
        if session_id not in self._kept:
            self._open(session)
        self._kept[session_id] = _Kept(version, settings)

    def _open(self, session: Session) -> None:
        driver = cast("LinkedDriver", self.accounts.open(session))
        link = driver.link(partial(self._hear, session.id))
        self.accounts.channels.context.links.keep(session.id, link)
        log.info("a link is kept here", session_id=session.id)

    def _close(self, session_id: str) -> None:
        del self._kept[session_id]
        self.accounts.channels.context.links.drop(session_id)

    def _hear(self, session_id: str, report: Report) -> None:
        """Store a provider's reports from a link, like those of a webhook."""
        with self.database.writing() as db:
            session = inbox_sessions.find(db, session_id)
            if session is None:
                raise GoneError
            revoked = inbox.store(db, session, report, now=now_ms())
        self.await_end(revoked)
