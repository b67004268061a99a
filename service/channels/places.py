"""Places that owners share, so that no one takes them all, however long each is kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable


def share(places: int, others: int) -> int:
    """Return how many places an owner may have: half of what the others leave, at least one.

    So there is always a place for whoever comes next.
    """
    return max((places - others) // 2, 1)


class Places:
    """The places that are taken, by owner. Not thread-safe."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many places are taken."""
        return self._taken.total()

    def taken(self, owner: str) -> int:
        """Return how many places an owner has."""
        return self._taken[owner]

    def free(self, owner: str) -> int:
        """Return how many more places an owner may take."""
        mine = self._taken[owner]
        return share(self._count, len(self) - mine) - mine

    def next(self, waiting: Iterable[str]) -> str | None:
        """Return who of those that wait may take a place: the one that has the fewest."""
        able = [owner for owner in waiting if self.free(owner) > 0]
        return min(able, key=self._taken.__getitem__, default=None)

    def take(self, owner: str) -> None:
        """Take a place."""
        self._taken[owner] += 1

    def give_back(self, owner: str) -> None:
        """Give a place back."""
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]


class SharedPlaces:
    """Places that threads take without waiting."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._places = Places(count)
        self._lock = threading.Lock()

    def enter(self, owner: str) -> bool:
        """Take a place if there is one for this owner; return whether there was."""
        with self._lock:
            has_room = len(self._places) < self._count and self._places.free(owner) > 0
            if has_room:
                self._places.take(owner)
        return has_room

    def leave(self, owner: str) -> None:
        """Give a place back."""
        with self._lock:
            self._places.give_back(owner)
