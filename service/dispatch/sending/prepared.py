"""Broadcasts ready to send: everything that all deliveries of a broadcast share, made once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import undefer

from service.channels.base import Driver
from service.channels.content import Content
from service.config import Settings
from service.core import paces, service_windows, variables
from service.core.accounts import Accounts
from service.core.deliveries import gates
from service.core.deliveries.claims import Claimed
from service.core.deliveries.gates import Gate
from service.core.paces import Pace
from service.core.personalisation import PersonalisedParts
from service.database import Database
from service.dispatch.sending.drivers import Drivers
from service.dispatch.sending.retry import Policy
from service.models import Broadcast, Session

_KEPT = 512
"""Prepared broadcasts in the cache. Each holds its rendered message and no recipients."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBroadcast:
    """A broadcast, its driver and its rendered parts.

    `concurrency` limits the messages that its session may have under way; None: only the room
    limits them. `worded` is set if a part differs between recipients. `inside` is the alternative
    for recipients inside the service window, if there is one. `gate` is set if some deliveries may
    have to wait while others go. `pace` is that of the session, if it has one.
    """

    broadcast_id: str
    session_id: str
    driver: Driver
    parts: tuple[Any, ...]
    policy: Policy
    concurrency: int | None = None
    worded: PersonalisedParts | None = None
    inside: PreparedBroadcast | None = None
    client_id: str = ""
    gate: Gate | None = None
    pace: Pace | None = None

    def part(self, number: int, delivery: Claimed) -> Any:
        """Return a part rendered for one recipient."""
        worded = self.worded
        if worded is None or not worded.differs(number):
            return self.parts[number]
        values = variables.load(delivery.variables)
        return self.driver.prepare(worded.part(number, values, delivery.recipient))


class PreparedBroadcasts:
    """A cache of this process's broadcasts, prepared on first use and after a session changes."""

    def __init__(self, settings: Settings, database: Database, accounts: Accounts) -> None:
        self._settings = settings
        self._database = database
        self._accounts = accounts
        self._drivers = Drivers(accounts)
        self._kept: OrderedDict[tuple[str, int, int, int], PreparedBroadcast] = OrderedDict()

    def get(
        self, broadcast_id: str, session_version: int, expires_at: int, revision: int = 0
    ) -> PreparedBroadcast:
        """Return a broadcast with its current session, expiry and message.

        Raises UndecryptableSessionError, and any error from preparing the message.
        """
        key = (broadcast_id, session_version, expires_at, revision)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        self._kept[key] = self._make(broadcast_id)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _make(self, broadcast_id: str) -> PreparedBroadcast:
        with self._database.reading() as db:
            broadcast = db.get_one(Broadcast, broadcast_id, options=[undefer(Broadcast.content)])
            session = db.get_one(Session, broadcast.session_id)
        driver = self._drivers.get(session)
        content = self._accounts.restored(broadcast.content)
        if halves := service_windows.split(content):
            made = self._made(broadcast, session, driver, halves.outside)
            return replace(made, inside=self._made(broadcast, session, driver, halves.inside))
        return self._made(broadcast, session, driver, content)

    def _made(
        self, broadcast: Broadcast, session: Session, driver: Driver, content: Content
    ) -> PreparedBroadcast:
        worded = self._accounts.worded_content(broadcast, driver, content)
        return PreparedBroadcast(
            broadcast.id,
            session.id,
            driver,
            parts=tuple(
                None if worded.differs(number) else driver.prepare(part)
                for number, part in enumerate(worded.parts)
            ),
            policy=Policy.of(self._settings, session, broadcast.expires_at),
            concurrency=session.concurrency or driver.concurrency,
            worded=worded if worded.is_personal else None,
            client_id=broadcast.client_id,
            gate=gates.of(broadcast, session),
            pace=paces.of(session),
        )
