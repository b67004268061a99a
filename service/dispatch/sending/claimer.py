"""The turn in which this process claims due deliveries.

Clients share the free room evenly, and so do the sessions of a client and the broadcasts of a
session. Neither a large broadcast nor thousands of small ones therefore delay another client's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import structlog
from sqlalchemy.orm import Session as Db

from service.channels.registry import LINKED
from service.config import Settings
from service.core import dispatchers, holding, service_windows
from service.core.deliveries import claims, gates
from service.core.deliveries.claims import Active, Assigned, Claimed
from service.core.dispatchers import LostClaimError
from service.core.paces import Pace
from service.database import OUT_OF_REACH, Database, now_ms
from service.dispatch.sending import pacing, shares
from service.dispatch.sending.drivers import UndecryptableSessionError
from service.dispatch.sending.lanes import Work
from service.dispatch.sending.prepared import PreparedBroadcast, PreparedBroadcasts
from service.dispatch.sending.sender import SendingContext
from service.dispatch.sending.shares import SlotsTaken
from service.dispatch.turns import Turns
from service.metrics import meters

log = structlog.get_logger(__name__)

_TURNS = 32
"""Broadcasts that share one claim."""

_FRESH = 0.2
"""Seconds for which the list of active broadcasts stays valid while claims come back full."""


class Claimable(NamedTuple):
    """A broadcast with deliveries to claim, and how many deliveries its session can take."""

    active: Active
    broadcast: PreparedBroadcast
    wanted: int


class Claimer:
    """The turns that fill the queue of claimed deliveries."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        context: SendingContext,
        broadcasts: PreparedBroadcasts,
        on_lost: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._context = context
        self._queue = context.queue
        self._links = context.driver_context.links
        self._broadcasts = broadcasts
        self._on_lost = on_lost
        self._turns = Turns()
        self._seen: list[Active] = []
        self._seen_at = self._recalled_at = -math.inf
        self._claimed_at = 0
        self._paced: dict[tuple[str, int], int] = {}
        self._doubtful: list[tuple[str, int]] = []
        self.draining = False
        self.assigned: Callable[[], list[str]] | None = None

    def turn(self) -> float:
        """Claim as many deliveries as fit; return the seconds to wait before the next turn."""
        self._recall()
        if self.draining or not self._context.lease.is_good():
            return self._settings.poll_interval
        self._clear_doubts()
        claimable = self._claimable()
        if not claimable:
            if not len(self._queue):
                self._seen = []
            return self._settings.poll_interval
        began = time.perf_counter()
        works, taken, asked = self._claim(claimable)
        seconds = time.perf_counter() - began
        meters.claimed(len(works), seconds)
        self._queue.note_claim(seconds)
        self._queue.add(works)
        if taken < max(asked, 1) or self._turns.cursors:
            # A broadcast ran out of deliveries, or others wait for their turn: query again.
            self._seen = []
        return 0.0 if taken else self._settings.poll_interval

    def look_again(self) -> None:
        """Query the active broadcasts again before the next claim, because something is new."""
        self._seen_at = -math.inf

    def _recall(self) -> None:
        """Release claimed deliveries that may no longer be sent, or cannot be sent soon."""
        now = time.monotonic()
        if now < self._recalled_at + self._settings.poll_interval:
            return
        self._recalled_at = now
        self._context.give_back(self._queue.remove_excess())
        if not (waiting := self._queue.broadcast_ids()):
            return
        with self._database.reading() as db:
            sendable = claims.sendable(db, waiting, now=now_ms())
        if sendable != waiting:
            gone = self._queue.remove(lambda work: work.broadcast.broadcast_id not in sendable)
            self._context.give_back(gone)

    def _claimable(self) -> dict[str, Claimable]:
        """Return the broadcasts whose turn it is, by id."""
        actives, claimable = self._active(), {}
        rooms = self._queue.rooms(each.client_id for each in actives)
        actives = [each for each in actives if rooms[each.client_id]]
        for active in self._turns.choose(actives, _TURNS, self._may_claim):
            broadcast = self._prepared(active)
            if broadcast is None:
                continue
            wanted = self._queue.wanted(broadcast)
            if wanted:
                claimable[active.broadcast_id] = Claimable(active, broadcast, wanted)
        return claimable

    def _active(self) -> list[Active]:
        """Return the active broadcasts, from a recent query if there was one."""
        now = time.monotonic()
        if not self._seen or now > self._seen_at + _FRESH:
            self._seen_at = now  # before the query, which may miss what arrives while it runs
            self._seen = self._next_active()
        return self._seen

    def _next_active(self) -> list[Active]:
        """Query due work after the last broadcasts served; start over if there is none."""
        assigned = None
        if self.assigned is not None:
            assigned = Assigned(self.assigned(), self._links.are_up())
        look = partial(claims.active, turns=_TURNS, assigned=assigned, now=now_ms())
        with self._database.reading() as db:
            active = look(db, self._turns.cursors)
            if not active and self._turns.cursors:
                self._turns.restart()
                active = look(db, self._turns.cursors)
        return active

    def _may_claim(self, active: Active) -> bool:
        """Return whether a session can send here, and has slots in its pace and little claimed."""
        spoken_for = self._paced.get((active.session_id, active.session_version), 0)
        return (
            spoken_for <= time.time_ns() // 1000
            and self._context.holds.allow(active.session_id, active.broadcast_id, now_ms())
            and self._queue.is_low(active.session_id)
            and (active.channel not in LINKED or self._links.is_up(active.session_id))
        )

    def _prepared(self, active: Active) -> PreparedBroadcast | None:
        """Return a prepared broadcast. On failure, hold its session or the broadcast instead."""
        try:
            return self._broadcasts.get(
                active.broadcast_id, active.session_version, active.expires_at, active.revision
            )
        except OUT_OF_REACH:
            raise
        except UndecryptableSessionError as error:
            log.exception("a session cannot be opened", session_id=active.session_id)
            with self._database.writing() as db:
                holding.hold_session(db, active.session_id, str(error), until=None, now=now_ms())
        except Exception as error:
            log.exception("a message cannot be prepared", broadcast_id=active.broadcast_id)
            reason = f"Crier could not prepare this message ({type(error).__name__}: {error})."
            with self._database.writing() as db:
                holding.hold_broadcast(db, active.broadcast_id, reason, now=now_ms())
        return None

    def _claim(self, claimable: dict[str, Claimable]) -> tuple[list[Work], int, int]:
        """Claim an even share of each broadcast, within the pace of its session.

        Return the claimed deliveries, how many were found, and how many were requested.
        """
        claim_id = self._context.lease.id
        actives = [each.active for each in claimable.values()]
        wanted = {each.active.session_id: each.wanted for each in claimable.values()}
        revisions = {each.broadcast_id: each.revision for each in actives}
        rooms = self._queue.rooms(each.client_id for each in actives)
        even = shares.divide(actives, wanted, rooms, self._settings.claim_batch)
        now = self._claimed_at = max(now_ms(), self._claimed_at + 1)
        try:
            with self._database.writing() as db:
                dispatchers.hold(db, claim_id)
                slots = SlotsTaken(pacing.offers(db, _paces(claimable), now=time.time_ns() // 1000))
                limited = slots.limit(actives, even)
                claimed = claims.take(db, claim_id, limited, now=now, revisions=revisions)
                works = _works(db, claim_id, claimed, claimable, slots, now)
                pacing.reserve(db, slots.spoken_for())
        except LostClaimError:
            self._on_lost()
            return [], 0, 0
        except Exception:
            self._doubtful.append((claim_id, now))
            raise
        versions = {each.session_id: each.session_version for each in actives}
        looks = slots.next_looks()
        self._paced |= {(each, versions[each]): moment for each, moment in looks.items()}
        return works, len(claimed), sum(limited.values())

    def _clear_doubts(self) -> None:
        """Release deliveries claimed by a commit whose answer was lost: no thread here has them.

        If that commit is still running, locking the dispatcher's row waits for it.
        """
        for doubt in list(self._doubtful):
            claim_id, claimed_at = doubt
            try:
                with self._database.writing() as db:
                    dispatchers.hold(db, claim_id)
                    count = claims.release(db, claim_id, claimed_at, now=now_ms())
            except LostClaimError:
                count = 0  # The sweep releases them.
            self._doubtful.remove(doubt)
            if count:
                log.warning("a claim was committed although its answer was lost", deliveries=count)


def _paces(claimable: Mapping[str, Claimable]) -> dict[str, Pace]:
    """Return the paces of the sessions that have one."""
    broadcasts = (each.broadcast for each in claimable.values())
    return {each.session_id: each.pace for each in broadcasts if each.pace}


def _works(  # noqa: PLR0913, PLR0917 - a claim and all that belongs to it
    db: Db,
    claim_id: str,
    claimed: Sequence[Claimed],
    claimable: dict[str, Claimable],
    slots: SlotsTaken,
    now: int,
) -> list[Work]:
    """Return the claimed deliveries with everything needed to send them. Some are requeued."""
    found = {broadcast_id: each.broadcast.gate for broadcast_id, each in claimable.items()}
    shut = {broadcast_id: gate for broadcast_id, gate in found.items() if gate}
    until: dict[str, int] = {}
    if shut:
        until = gates.let_pass(db, claim_id, claimed, shut, now=now)
        claimed = [each for each in claimed if each.broadcast_id not in shut or each.id in until]
    forms = _forms(db, claimed, claimable, now)
    return [
        _work(claim_id, each, forms, claimable, slots, until.get(each.id, 0)) for each in claimed
    ]


def _forms(
    db: Db, claimed: Sequence[Claimed], claimable: dict[str, Claimable], now: int
) -> dict[str, PreparedBroadcast]:
    """Return the alternative broadcast for recipients inside the service window, by delivery."""
    forms: dict[str, PreparedBroadcast] = {}
    for broadcast_id, (active, broadcast, _) in claimable.items():
        if broadcast.inside is not None:
            mine = [each for each in claimed if each.broadcast_id == broadcast_id]
            people = [each.recipient for each in mine]
            wrote = service_windows.inside(db, active.session_id, people, now=now)
            forms |= {each.id: broadcast.inside for each in mine if each.recipient in wrote}
    return forms


def _work(  # noqa: PLR0913, PLR0917 - as above
    claim_id: str,
    delivery: Claimed,
    forms: Mapping[str, PreparedBroadcast],
    claimable: dict[str, Claimable],
    slots: SlotsTaken,
    until: int,
) -> Work:
    active, broadcast, _ = claimable[delivery.broadcast_id]
    moment, interval = slots.take(active)
    if forms:
        broadcast = forms.get(delivery.id, broadcast)
    return Work(delivery, broadcast, claim_id, moment, interval, until)
