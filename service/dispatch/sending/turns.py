"""Whose turn it is: clients, their sessions and the broadcasts of these each take turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from service.core.deliveries.claims import Active

T = TypeVar("T")

Sessions = dict[str, list[Active]]
"""The broadcasts of one client, by session."""


class Turns:
    """The order in which broadcasts take part in claims.

    Of clients, and of a client's sessions, whoever took part longest ago goes first. `cursors` has
    the last broadcast of each session that has more of them.
    """

    def __init__(self) -> None:
        self.cursors: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._served: dict[str, int] = {}

    def restart(self) -> None:
        """Let each session begin with its first broadcast."""
        self.cursors.clear()

    def choose(
        self, actives: Sequence[Active], most: int, may: Callable[[Active], bool]
    ) -> list[Active]:
        """Choose broadcasts that may: as many of one client as of another, and so for sessions."""
        clients: dict[str, Sessions] = {}
        for each in filter(may, actives):
            sessions = clients.setdefault(each.client_id, {})
            sessions.setdefault(each.session_id, []).append(each)
        in_turn = _in_turn(self._of_client(clients[name]) for name in self._longest_ago(clients))
        chosen = list(itertools.islice(in_turn, most))
        self._note(actives, chosen)
        return chosen

    def _of_client(self, sessions: Sessions) -> Iterator[Active]:
        return _in_turn(sessions[name] for name in self._longest_ago(sessions))

    def _longest_ago(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: self._served.get(name, 0))

    def _note(self, actives: Iterable[Active], chosen: Iterable[Active]) -> None:
        """Remember who was served, and the last broadcast of sessions that have more."""
        ends = {each.session_id: each.broadcast_id for each in actives}
        kept = {each.client_id for each in actives} | ends.keys()
        self._served = {name: at for name, at in self._served.items() if name in kept}
        for each in chosen:
            self._served[each.client_id] = self._served[each.session_id] = next(self._numbers)
            self.cursors[each.session_id] = each.broadcast_id
        self.cursors = {
            name: last for name, last in self.cursors.items() if last != ends.get(name, last)
        }


def _in_turn(groups: Iterable[Iterable[T]]) -> Iterator[T]:
    """Yield one item of each group in turn until all are at their end."""
    waiting = [iter(group) for group in groups]
    while waiting:
        left = []
        for each in waiting:
            for item in itertools.islice(each, 1):
                yield item
                left.append(each)
        waiting = left
