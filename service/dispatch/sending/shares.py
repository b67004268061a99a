"""How many deliveries of each broadcast one claim takes, and which slots they get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.core.deliveries.claims import Active
from service.core.shares import even
from service.dispatch.sending import pacing


def divide(
    actives: Sequence[Active], wanted: Mapping[str, int], rooms: Mapping[str, int], room: int
) -> dict[str, int]:
    """Divide room evenly among clients, then among their sessions, then among their broadcasts.

    `wanted` is by session, and `rooms` is what there is for each client at most.
    """
    clients: dict[str, dict[str, list[str]]] = {}
    for each in actives:
        sessions = clients.setdefault(each.client_id, {})
        sessions.setdefault(each.session_id, []).append(each.broadcast_id)
    wants = {client: {each: wanted[each] for each in of} for client, of in clients.items()}
    most = {client: min(rooms[client], sum(of.values())) for client, of in wants.items()}
    shares: dict[str, int] = {}
    for client, part in even(most, room).items():
        for session, share in even(wants[client], part).items():
            shares |= even(dict.fromkeys(clients[client][session], share), share)
    return shares


class SlotsTaken:
    """The slots of a claim's paced sessions, and up to when they are taken."""

    def __init__(self, offers: Mapping[str, pacing.Slots]) -> None:
        self._offers = offers
        self._promised = dict.fromkeys(offers, 0)
        self._next = {session_id: slots.first for session_id, slots in offers.items()}
        self._is_short: set[str] = set()

    def limit(self, actives: Sequence[Active], shares: Mapping[str, int]) -> dict[str, int]:
        """Reduce shares to the free slots of each rate-limited session."""
        limited = {
            each.broadcast_id: self._promise(each, shares[each.broadcast_id]) for each in actives
        }
        return {broadcast_id: share for broadcast_id, share in limited.items() if share > 0}

    def take(self, active: Active) -> tuple[int, int]:
        """Take one slot per part of a delivery; return the first slot and the interval."""
        if active.session_id not in self._offers:
            return 0, 0
        moment, interval = self._next[active.session_id], self._offers[active.session_id].draw()
        self._next[active.session_id] += active.parts * interval
        return moment, interval

    def spoken_for(self) -> dict[str, int]:
        """Return up to when each session's pace is used, for sessions that used it."""
        return {
            session_id: until
            for session_id, until in self._next.items()
            if until > self._offers[session_id].first
        }

    def next_looks(self) -> dict[str, int]:
        """Return when to query each session again that gave all its slots."""
        return {
            session_id: pacing.next_look(until)
            for session_id, until in self._next.items()
            if session_id not in self._is_short
        }

    def _promise(self, active: Active, share: int) -> int:
        """Promise a broadcast its share, or less if its session has too few slots left."""
        if active.session_id not in self._offers:
            return share
        free = self._offers[active.session_id].free - self._promised[active.session_id]
        # A delivery may begin within the horizon even if its last parts lie beyond it.
        enough = -(-free // active.parts)
        if share < enough:
            self._is_short.add(active.session_id)
        share = min(share, enough)
        self._promised[active.session_id] += share * active.parts
        return share
