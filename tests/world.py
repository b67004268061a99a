"""A small world without HTTP: one client, its sessions and broadcasts, on a real database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Row, select, text

from service import ids
from service.channels.drivers import sandbox
from service.config import Settings
from service.core import clients, dispatchers, edits, intake, recipients, sessions
from service.core.accounts import Accounts
from service.core.broadcast_requests import BroadcastRequest
from service.core.deliveries import chunks, claims, timelines
from service.core.deliveries.claims import Claimed
from service.core.entries import Given
from service.core.vault import Vault
from service.database import Database, now_ms
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.sending.uploads import StoredMediaIds
from service.models import COUNTED, Broadcast, Delivery, SendType, Session
from tests.waiting import until

ADA, GRACE, JOAN = "2348179803743", "2349048988056", "2348179803744"


def numbers(count: int) -> list[str]:
    """Return that many phone numbers that nobody has, none of them magic."""
    return [str(12025552000 + number) for number in range(count)]


class Claims(NamedTuple):
    """The deliveries that a dispatcher has claimed, in the order of `to`."""

    id: str
    deliveries: list[Claimed]


class World:
    """A client, and the verbs by which tests act for it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.vault = Vault(settings)
        self.accounts = Accounts(settings, self.vault, partial(StoredMediaIds, database))
        self._claimed_at = 0
        self._lock = threading.Lock()
        with database.writing() as db:
            self.client_id = clients.create(db, "Acme").id

    def with_settings(self, **changes: Any) -> World:
        """Return the same world under other settings."""
        other = World.__new__(World)
        other.__dict__.update(self.__dict__)
        other.settings = replace(self.settings, **changes)
        other.accounts = Accounts(
            other.settings, self.vault, partial(StoredMediaIds, self.database)
        )
        return other

    def neighbour(self) -> World:
        """Return the same world, in which another client acts."""
        other = self.with_settings()
        with self.database.writing() as db:
            other.client_id = clients.create(db, f"Neighbour {ids.new()}").id
        return other

    def session(self, channel: str = "sandbox", **fields: Any) -> str:
        """Create a session and return its id; the client's first one is its default."""
        name = f"{channel}-{now_ms()}-{len(self._sessions())}"
        wanted = {"name": name, "channel": channel, "settings": {}, **fields}
        channels, vault = self.accounts.channels, self.vault
        with self.database.writing() as db:
            return sessions.create(db, self.client_id, wanted, channels=channels, vault=vault).id

    def change(self, session_id: str, **fields: Any) -> None:
        """Change a session from now on, also for broadcasts that are being sent."""
        channels, vault = self.accounts.channels, self.vault
        with self.database.writing() as db:
            sessions.update(db, self.client_id, session_id, fields, channels=channels, vault=vault)

    def broadcast(
        self,
        to: str | Sequence[str | dict[str, Any]],
        says: str = "Hello",
        *,
        now: int | None = None,
        **order: Any,
    ) -> str:
        """Accept a broadcast and return its id."""
        given: Given = to if isinstance(to, str) else list(to)
        people = recipients.read(given, order.pop("send_type", SendType.INDIVIDUAL))
        wanted = {"session_id": "", "people": people, "message": {"text": says}}
        asked = BroadcastRequest(**{**wanted, **order})
        now = now_ms() if now is None else now
        with self.database.writing() as db:
            made, _ = intake.accept(db, self.client_id, asked, accounts=self.accounts, now=now)
            return made.id

    def edit(self, former: Broadcast, **changes: Any) -> None:
        """Change a broadcast that was read before."""
        self.planned_edit(former, **changes)()

    def planned_edit(self, former: Broadcast, **changes: Any) -> Callable[[], None]:
        """Plan a change of a broadcast; return what then makes it."""
        now, most = now_ms(), self.settings.max_recipients
        order = edits.merge(former, changes, most=most, within=None, now=now)
        with self.database.reading() as db:
            planned = edits.plan(db, former, order, accounts=self.accounts, now=now)
        stored: Any = {"planned": planned, "chunk": self.settings.fanout_chunk, "now": now}

        def store() -> None:
            with self.database.writing() as db:
                edits.replace(db, former, order, changes, **stored)

        return store

    def fan_out(self, broadcast_id: str, *, now: int | None = None) -> None:
        """Make all the deliveries of a broadcast."""
        made = 1
        while made:
            with self.database.writing() as db:
                made = chunks.fan_out(db, broadcast_id, now=now or now_ms())

    def ready(
        self, to: str | Sequence[str | dict[str, Any]], says: str = "Hello", **order: Any
    ) -> str:
        """Accept a broadcast, make its deliveries and return its id."""
        broadcast_id = self.broadcast(to, says, **order)
        self.fan_out(broadcast_id, now=order.get("now"))
        return broadcast_id

    def enter(self) -> str:
        """Enter a dispatcher among the living and return its id; it never beats."""
        with self.database.writing() as db:
            return dispatchers.register(db, now=now_ms())

    def claim(self, broadcast_id: str, count: int = 1_000, claim_id: str = "") -> Claims:
        """Claim deliveries of a broadcast for a dispatcher, a new one unless it is named."""
        claim_id = claim_id or self.enter()
        with self._lock:
            # The moment of a claim is part of its name.
            now = self._claimed_at = max(now_ms(), self._claimed_at + 1)
        with self.database.writing() as db:
            taken = claims.take(db, claim_id, {broadcast_id: count}, now=now)
        return Claims(claim_id, sorted(taken))

    def dispatcher(self, **changes: Any) -> Dispatcher:
        """Return a dispatcher on this world's own database, not started yet."""
        other = self.with_settings(**changes)
        return Dispatcher(other.settings, self.database, other.accounts)

    def get(self, broadcast_id: str) -> Broadcast:
        with self.database.reading() as db:
            return db.get_one(Broadcast, broadcast_id)

    def get_session(self, session_id: str) -> Session:
        with self.database.reading() as db:
            return db.get_one(Session, session_id)

    def deliveries(self, broadcast_id: str) -> Sequence[Delivery]:
        """Return the deliveries of a broadcast in the order of `to`."""
        wanted = select(Delivery).where(Delivery.broadcast_id == broadcast_id)
        with self.database.reading() as db:
            return db.scalars(wanted.order_by(Delivery.id)).all()

    def statuses(self, broadcast_id: str) -> dict[str, int]:
        """Count the deliveries of a broadcast by status."""
        return dict(Counter(delivery.status for delivery in self.deliveries(broadcast_id)))

    def timeline(self, broadcast_id: str) -> dict[str, int]:
        """Add up the timeline of a broadcast."""
        with self.database.reading() as db:
            buckets = timelines.read(db, db.get_one(Broadcast, broadcast_id))
        return {name: sum(bucket.gain[name] for bucket in buckets) for name in COUNTED}

    def await_status(self, broadcast_id: str, status: str) -> None:
        until(lambda: self.get(broadcast_id).status == status)

    def ask(self, query: str, **values: Any) -> Sequence[Row[Any]]:
        """Run a query of SQL."""
        with self.database.reading() as db:
            return db.execute(text(query), values).all()

    def tell(self, statement: str, **values: Any) -> None:
        """Run a statement of SQL, for what only a crash or an operator does."""
        with self.database.writing() as db:
            db.execute(text(statement), values)

    def received(self) -> list[dict[str, Any]]:
        """Return all that the sandbox's own store holds."""
        return sandbox.received(self.settings.sandbox_store, self._sessions(), 0, 1_000_000)[1]

    def assert_counters_equal_rows(self, broadcast_ids: Iterable[str]) -> None:
        for broadcast_id in broadcast_ids:
            broadcast, rows = self.get(broadcast_id), self.statuses(broadcast_id)
            counters = {name: getattr(broadcast, name) for name in COUNTED}
            assert counters == {name: rows.get(name, 0) for name in COUNTED}
            assert sum(rows.values()) == broadcast.total

    def _sessions(self) -> Sequence[str]:
        mine = select(Session.id).where(Session.client_id == self.client_id)
        with self.database.reading() as db:
            return db.scalars(mine).all()
