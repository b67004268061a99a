"""What a sender takes from the lanes at once: even shares of the clients and of their sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter

from service.dispatch.sending.lanes import Lane, Work
from service.dispatch.sending.limits import Client
from service.dispatch.sending.rooms import Room


class TakenDeliveries:
    """The deliveries taken, and the lanes that they come from. `mono` is a monotonic time."""

    def __init__(self, room: Room, mono: float) -> None:
        self.works: list[Work] = []
        self.served: list[Lane] = []
        self._room = room
        self._mono = mono

    def take_due(self, lanes: Iterable[Lane], now: int) -> None:
        """Take all whose slot is now (microseconds of Unix time), as far as there are places."""
        for lane in lanes:
            if lane.due:
                places = self._room.reserved(lane.client)
                self._began(lane, lane.take_due(places, now, self._mono))

    def take_ready(self, lanes: Iterable[Lane], most: int) -> None:
        """Take up to `most`: first what clients lack of their even shares, then from the rest."""
        clients: dict[Client, list[Lane]] = {}
        for lane in lanes:
            if lane.ready:
                clients.setdefault(lane.client, []).append(lane)
        if most > 0 and clients:
            busy = self._room.busy(clients)
            most -= self._divide(clients, most, partial(self._room.missing, clients=busy))
            self._divide(clients, most, self._room.spare)

    def _divide(
        self, clients: Mapping[Client, list[Lane]], most: int, free: Callable[[Client], int]
    ) -> int:
        """Take evenly from clients, up to what is free for each; return how many.

        Whoever has the fewest under way goes first.
        """
        room, waiting = most, sorted(clients, key=attrgetter("under_way"))
        while waiting and room > 0:
            share, left = max(1, room // len(waiting)), []
            for client in waiting:
                taken = self._take_evenly(clients[client], min(share, room, free(client)))
                room -= taken
                if taken == share:
                    left.append(client)
            waiting = left
        return most - room

    def _take_evenly(self, lanes: list[Lane], most: int) -> int:
        """Take evenly from sessions that have places; return how many."""
        room = most
        while lanes and room > 0:
            share, left = max(1, room // len(lanes)), []
            for lane in lanes:
                taken = lane.take_ready(min(share, room), self._mono)
                self._began(lane, taken)
                room -= len(taken)
                if lane.ready and len(taken) == share:
                    left.append(lane)
            lanes = left
        return most - room

    def _began(self, lane: Lane, works: list[Work]) -> None:
        if works:
            lane.taken += len(works)
            self._room.began(lane.limit, len(works))
            self.served.append(lane)
            self.works += works
