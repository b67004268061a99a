"""The turn in which due deliveries become this process's own.

Active broadcasts take turns: each gets an even share of the room there is, so that a small one is
not kept waiting by a large one.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from sqlalchemy import text

from service.config import Settings
from service.core import dispatchers, holding
from service.core.deliveries import claims
from service.core.deliveries.claims import Claimed
from service.core.dispatchers import LostClaimError
from service.database import OUT_OF_REACH, Database, now_ms
from service.dispatch import pacing
from service.dispatch.campaigns import Campaign, Campaigns, UnopenedSessionError
from service.dispatch.credit import Credit
from service.dispatch.gate import Gate
from service.dispatch.lease import Lease
from service.dispatch.stock import Stock, Work
from service.metrics import meters

log = structlog.get_logger(__name__)

_TURNS = 32
"""Broadcasts that share one claim."""

_FRESH = 0.1
"""Seconds for which a look at the active broadcasts is good, where the claim after it was full."""

_ACTIVE = text(f"""
    SELECT b.id AS broadcast_id, b.parts, b.expires_at, s.id AS session_id,
           s.version AS session_version, s.rate, b.revision
    FROM broadcasts AS b JOIN sessions AS s ON s.id = b.session_id
    WHERE b.id > :cursor AND {claims.MAY_GO}
        AND EXISTS (SELECT 1 FROM deliveries AS d
                    WHERE d.broadcast_id = b.id AND d.status = 'queued' AND d.due_at <= :now)
    ORDER BY b.id LIMIT :turns
""")  # noqa: S608 - the condition is ours
_ACTIVE_ASSIGNED = text(_ACTIVE.text.replace("WHERE", "WHERE b.id = ANY(:assigned) AND", 1))


class Active(NamedTuple):
    """A broadcast with deliveries that are due, on a session that can send."""

    broadcast_id: str
    parts: int
    expires_at: int
    session_id: str
    session_version: int
    rate: float | None
    revision: int = 0


Ready = dict[str, tuple[Active, Campaign]]
"""Broadcasts of which may be claimed, by id."""


class Claimer:
    """The turns that fill the stock."""

    def __init__(  # noqa: PLR0913, PLR0917 - it joins all that a claim has to heed
        self,
        settings: Settings,
        database: Database,
        lease: Lease,
        stock: Stock,
        campaigns: Campaigns,
        gate: Gate,
        on_lost: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._lease = lease
        self._stock = stock
        self._campaigns = campaigns
        self._gate = gate
        self._on_lost = on_lost
        self._cursor = ""
        self._seen: list[Active] = []
        self._seen_at = -math.inf
        self._claimed_at = 0
        self._paced: dict[tuple[str, float | None], int] = {}
        self._doubtful: list[tuple[str, int]] = []
        self.draining = False
        self.assigned: Callable[[], list[str]] | None = None

    def turn(self) -> float:
        """Claim what there is room for; return the seconds until it is worth trying again."""
        room = min(self._stock.room(), self._settings.claim_batch)
        if self.draining or room <= 0 or not self._lease.is_good():
            return self._settings.poll_interval
        self._clear_doubts()
        campaigns = self._ready_campaigns(room)
        if not campaigns:
            self._seen = []
            return self._settings.poll_interval
        began = time.perf_counter()
        works = self._claim(campaigns, room)
        meters.claimed(len(works), time.perf_counter() - began)
        self._stock.add(works)
        if len(works) <= room - len(campaigns) or self._cursor:
            # Not each had its whole share, or others wait for their turn: look again.
            self._seen = []
        return 0.0 if works else self._settings.poll_interval

    def look_again(self) -> None:
        """Claim next of what is active then: something is new."""
        self._seen_at = -math.inf

    def _ready_campaigns(self, room: int) -> Ready:
        """Return the broadcasts whose turn it is, by id."""
        campaigns = {}
        for active in self._active(min(_TURNS, room)):
            if self._may_claim(active):
                campaign = self._campaign(active)
                if campaign is not None:
                    campaigns[active.broadcast_id] = (active, campaign)
        return campaigns

    def _active(self, turns: int) -> list[Active]:
        """Return broadcasts as they are now or were just now."""
        now = time.monotonic()
        if not self._seen or now > self._seen_at + _FRESH:
            self._seen_at = now  # first: what is new meanwhile may not be among what is found
            self._seen = self._next_active(turns)
        return self._seen

    def _may_claim(self, active: Active) -> bool:
        """Tell whether a session is free to send, and its rate is not spoken for as it is."""
        session_id = active.session_id
        return (
            self._paced.get((session_id, active.rate), 0) <= time.time_ns() // 1000
            and self._stock.credit.free(session_id) != 0
            and self._gate.is_open(session_id, active.broadcast_id)
        )

    def _next_active(self, turns: int) -> list[Active]:
        """Look for due work after the last broadcast served, and from the start where none is."""
        values: dict[str, Any] = {"cursor": self._cursor, "now": now_ms(), "turns": turns}
        wanted = _ACTIVE
        if self.assigned is not None:
            values["assigned"] = self.assigned()
            wanted = _ACTIVE_ASSIGNED
        with self._database.reading() as db:
            rows = db.execute(wanted, values).all()
            if not rows and self._cursor:
                rows = db.execute(wanted, values | {"cursor": ""}).all()
        active = [Active(*row) for row in rows]
        self._cursor = active[-1].broadcast_id if len(active) == turns else ""
        return active

    def _campaign(self, active: Active) -> Campaign | None:
        """Return a campaign, or hold what stands in its way: the session or the broadcast."""
        try:
            return self._campaigns.get(
                active.broadcast_id,
                active.session_version,
                active.expires_at,
                active.revision,
            )
        except OUT_OF_REACH:
            raise
        except UnopenedSessionError as error:
            log.exception("a session cannot be opened", session_id=active.session_id)
            with self._database.writing() as db:
                holding.hold_session(db, active.session_id, str(error), until=None, now=now_ms())
        except Exception as error:
            log.exception("a message cannot be prepared", broadcast_id=active.broadcast_id)
            reason = (
                f"This message cannot be prepared to be sent ({type(error).__name__}: {error})."
            )
            with self._database.writing() as db:
                holding.hold_broadcast(db, active.broadcast_id, reason, now=now_ms())
        return None

    def _claim(self, campaigns: Ready, room: int) -> list[Work]:
        """Claim an even share of each broadcast, within the rates of their sessions."""
        claim_id = self._lease.id
        now = self._claimed_at = max(now_ms(), self._claimed_at + 1)
        try:
            with self._database.writing() as db:
                dispatchers.hold(db, claim_id)
                paced = {a.session_id: a.rate for a, _ in campaigns.values() if a.rate}
                offers = pacing.offers(db, paced, now=time.time_ns() // 1000)
                rates = _Rates(offers, self._stock.credit)
                shares = rates.shares([active for active, _ in campaigns.values()], room)
                revisions = {each: campaigns[each][0].revision for each in shares}
                claimed = claims.take(db, claim_id, shares, now=now, revisions=revisions)
                works = [_work(claim_id, each, campaigns, rates) for each in claimed]
                pacing.reserve(db, rates.spoken_for())
                looks = rates.next_looks()
                self._paced |= {(each, paced[each]): moment for each, moment in looks.items()}
        except LostClaimError:
            self._on_lost()
            return []
        except Exception:
            self._doubtful.append((claim_id, now))
            raise
        return works

    def _clear_doubts(self) -> None:
        """Put back what was claimed in a commit whose answer was lost: nobody here has it.

        To hold the dispatcher's row waits for that commit, should it still be under way.
        """
        for doubt in list(self._doubtful):
            claim_id, claimed_at = doubt
            try:
                with self._database.writing() as db:
                    dispatchers.hold(db, claim_id)
                    count = claims.release(db, claim_id, claimed_at, now=now_ms())
            except LostClaimError:
                count = 0  # The sweep has them.
            self._doubtful.remove(doubt)
            if count:
                log.warning("a claim was stored though its answer was lost", deliveries=count)


def _work(
    claim_id: str,
    delivery: Claimed,
    campaigns: Ready,
    rates: _Rates,
) -> Work:
    active, campaign = campaigns[delivery.broadcast_id]
    moment, interval = rates.take(active)
    return Work(delivery, campaign, claim_id, moment, interval)


class _Rates:
    """The slots of the paced sessions of one claim, and how many are taken.

    `credit` says of how many deliveries a session can be trusted with, be it paced or not.
    """

    def __init__(self, offers: dict[str, pacing.Slots], credit: Credit) -> None:
        self._credit = credit
        self._lent: Counter[str] = Counter()
        self._offers = offers
        self._promised = dict.fromkeys(offers, 0)
        self._taken = dict.fromkeys(offers, 0)

    def shares(self, actives: list[Active], room: int) -> dict[str, int]:
        """Divide the room evenly; a paced session gives no more than its slots."""
        even = max(1, room // len(actives))
        shares = {
            active.broadcast_id: self._lend(active, self._promise(active, even))
            for active in actives
        }
        return {broadcast_id: share for broadcast_id, share in shares.items() if share > 0}

    def take(self, active: Active) -> tuple[int, int]:
        """Take the slots of one delivery, one a part; return its moment and their interval."""
        if active.session_id not in self._offers:
            return 0, 0
        slots = self._offers[active.session_id]
        moment = slots.moment(self._taken[active.session_id])
        self._taken[active.session_id] += active.parts
        return moment, slots.interval

    def spoken_for(self) -> dict[str, int]:
        """Return up to when each session's rate is used now, where it was used."""
        return {
            session_id: self._offers[session_id].moment(taken)
            for session_id, taken in self._taken.items()
            if taken
        }

    def next_looks(self) -> dict[str, int]:
        """Return when it is worthwhile to look at each session again."""
        return {
            session_id: pacing.next_look(slots.moment(self._taken[session_id]))
            for session_id, slots in self._offers.items()
        }

    def _lend(self, active: Active, share: int) -> int:
        free = self._credit.free(active.session_id)
        if free is not None:
            share = min(share, free - self._lent[active.session_id])
        self._lent[active.session_id] += share
        return share

    def _promise(self, active: Active, share: int) -> int:
        """Promise a broadcast its share, or what the slots left in its session are enough for."""
        if active.session_id not in self._offers:
            return share
        free = self._offers[active.session_id].free - self._promised[active.session_id]
        # A delivery whose last parts lie beyond the horizon may still begin within it.
        share = min(share, -(-free // active.parts))
        self._promised[active.session_id] += share * active.parts
        return share
