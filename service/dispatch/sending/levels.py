"""How many deliveries a sender thread starts with, and how long it collects their answers."""

from __future__ import annotations

from typing import Final

LEAST: Final = 64
"""Deliveries that a thread starts with. If a provider answers at once, more only cost processor
time: 512 cost a third of it."""

_IDLE: Final = 0.5
_BUSY: Final = 0.2
"""Fractions of its time that a thread waits. Above the first it doubles its level; below the second
it halves it."""

_GATHERING: Final = 0.002
"""Seconds to collect answers. A turn costs nearly as much for one answer as for ten."""


class Level:
    """The deliveries that one thread has under way, without those that wait for a slow provider.

    Waiting costs no processor time, so the level rises while the thread mostly waits.
    """

    def __init__(self) -> None:
        self._most = LEAST
        self._idle = 0
        self._is_full = False
        self._waited = 0.0

    def room(self, under_way: int) -> int:
        """Return how many more deliveries may begin."""
        return self._most + self._idle - under_way

    def note(self, under_way: int) -> float:
        """Record how many deliveries are under way; return the seconds to collect their answers.

        These are 0 if only a few answers are expected soon: a provider that answers at once would
        seem slow. Its session would get no more places, and the thread would go on waiting.
        """
        self._is_full = self._is_full or self.room(under_way) <= 0
        return _GATHERING if under_way - self._idle > LEAST else 0.0

    def adjust(self, waited: float, elapsed: float, idle: int) -> None:
        """Raise the level of a thread that mostly waits; lower it if it hardly waits.

        `waited` is how many seconds it has waited in all, `elapsed` the seconds since the last
        call, `idle` how many deliveries wait for a slow provider.
        """
        fraction = (waited - self._waited) / elapsed
        if fraction > _IDLE and self._is_full:
            self._most *= 2
        elif fraction < _BUSY:
            self._most = max(LEAST, self._most // 2)
        self._waited, self._idle, self._is_full = waited, idle, False
