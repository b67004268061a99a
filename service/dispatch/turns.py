"""Whose turn it is: clients, their sessions and the broadcasts of these each take turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class WaitingBroadcast(Protocol):
    """A broadcast that waits for its turn."""

    @property
    def client_id(self) -> str:
        """Whose it is."""

    @property
    def session_id(self) -> str:
        """The session that sends it."""

    @property
    def broadcast_id(self) -> str:
        """Which one it is."""


W = TypeVar("W", bound=WaitingBroadcast)


class Turns:
    """The order in which broadcasts get their turns.

    Of clients, and of a client's sessions, whoever had a turn longest ago goes first. `cursors` has
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
        self, waiting: Sequence[W], most: int, may: Callable[[W], bool] = lambda _: True
    ) -> list[W]:
        """Choose broadcasts that may: as many of one client as of another, and so for sessions."""
        clients: dict[str, dict[str, list[W]]] = {}
        for each in filter(may, waiting):
            sessions = clients.setdefault(each.client_id, {})
            sessions.setdefault(each.session_id, []).append(each)
        in_turn = _in_turn(self._of_client(clients[name]) for name in self._longest_ago(clients))
        chosen = list(itertools.islice(in_turn, most))
        self._note(waiting, chosen)
        return chosen

    def _of_client(self, sessions: Mapping[str, list[W]]) -> Iterator[W]:
        return _in_turn(sessions[name] for name in self._longest_ago(sessions))

    def _longest_ago(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: self._served.get(name, 0))

    def _note(self, waiting: Iterable[W], chosen: Iterable[W]) -> None:
        """Remember who was served, and the last broadcast of sessions that have more."""
        ends = {each.session_id: each.broadcast_id for each in waiting}
        kept = {each.client_id for each in waiting} | ends.keys()
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
