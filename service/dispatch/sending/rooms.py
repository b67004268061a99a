"""The room of a process: how many messages its clients and their sessions may have under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from service.dispatch.sending.limits import Client, Limit, Response

_SHARES: Final = 64
"""A session's small share is the room divided by this."""

_LEAST: Final = 8
"""Minimum places of a small share. A smaller room is a single share."""

PLACES: Final = 4
"""Places of a process in all, in rooms. One client never has more than half of them."""


class Room:
    """The limits of the sessions that this process sends for. Their clients share the room.

    A client alone may use the whole room. One that has less than its even share of the room may
    begin more even if others fill the room: their messages may take a minute to end. So that there
    is always a place, a client may have at most half of the places that the others leave, and a
    client with nothing under way may begin one message.

    Not thread-safe: the queue that calls it holds a lock.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._share = max(room // _SHARES, min(room, _LEAST))
        self._limits: dict[str, Limit] = {}
        self._clients: dict[str, Client] = {}
        self._waits: dict[object, dict[str, int]] = {}
        self._late = 0
        self.under_way = 0

    def of(self, session_id: str, concurrency: int | None = None, client_id: str = "") -> Limit:
        """Return a session's limit; `concurrency` is its maximum of messages under way."""
        most = min(concurrency or self._room, self._room)
        limit = self._limits.get(session_id)
        if limit is None:
            client = self._clients.setdefault(client_id, Client())
            limit = self._limits[session_id] = Limit(self._share, most, client)
        if most != limit.most:
            limit.most = most
            limit.allowed = min(limit.allowed, most)
        return limit

    def began(self, limit: Limit, messages: int) -> None:
        """Record that messages begin."""
        limit.began(messages)
        limit.client.under_way += messages
        self.under_way += messages

    def ended(
        self, session_id: str, response: Response, began: Sequence[float], now: float
    ) -> None:
        """Record messages of a session that ended together."""
        limit = self._limits[session_id]
        limit.ended(response, began, now)
        limit.client.under_way -= len(began)
        self.under_way -= len(began)

    def spare(self, client: Client) -> int:
        """Return how many more messages a client may begin in what is left of the room.

        Late messages do not count.
        """
        free = self._room + min(self._late, self._room) - self.under_way
        return max(0, min(free, self.reserved(client)))

    def missing(self, client: Client, clients: int) -> int:
        """Return how many more messages it may begin up to an even share among some clients."""
        share = max(1, self._room // clients)
        return max(0, min(share - client.counted, self.reserved(client)))

    def reserved(self, client: Client) -> int:
        """Return how many more messages a client may have under way, late ones and all.

        This is half of the places that the others leave, and at least one.
        """
        places = PLACES * self._room - (self.under_way - client.under_way)
        return max(places // 2, 1) - client.under_way

    def busy(self, waiting: Iterable[Client]) -> int:
        """Return how many clients have messages under way or waiting."""
        return len({client for client in self._clients.values() if client.under_way} | {*waiting})

    def note_waits(self, sender: object, began: Mapping[str, Sequence[float]], now: float) -> None:
        """Find a sender's late messages, given when the messages of each session began."""
        self._waits[sender] = {
            session_id: self._limits[session_id].count_late(moments, now)
            for session_id, moments in began.items()
        }
        late: Counter[str] = Counter()
        for waits in self._waits.values():
            late.update(waits)
        self._late = late.total()
        for client in self._clients.values():
            client.late = 0
        for session_id, limit in self._limits.items():
            limit.be_late(late[session_id])
            limit.client.late += late[session_id]
        silent = [limit for limit in self._limits.values() if limit.is_silent]
        for limit in silent:
            # All silent sessions together get at most half of the room.
            limit.shrink(max(1, min(self._share, self._room // (2 * len(silent)))))

    def forget(self, session_id: str) -> None:
        """Drop the limit of a session that has nothing under way."""
        del self._limits[session_id]
        used = {id(limit.client) for limit in self._limits.values()}
        self._clients = {name: each for name, each in self._clients.items() if id(each) in used}
