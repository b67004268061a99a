"""Revoked claims: what this process has claimed and must not begin, as somebody has opted out.

A web process that hears of an opt-out revokes the claims on that person's deliveries in the
database, and answers once the dispatchers that hold them have heard: `await_end`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from service.core import revocations
from service.core.revocations import ClaimKey
from service.database import Database
from service.dispatch.lease import Lease
from service.dispatch.sending.queue import Work
from service.errors import BusyError

log = structlog.get_logger(__name__)

INTERVAL: Final = 0.1
"""Seconds between two looks into the database."""

_KEPT: Final = 10_000
"""Revoked claims that are remembered; the oldest of more than these are over."""

_LONGEST: Final = 2.0
"""Seconds for which whoever opts somebody out waits for the claims to end."""

_GLANCE: Final = 0.01


class UnheardError(BusyError):
    """A process that may be sending to this person does not answer: send this request again."""


class RevokedClaims:
    """The revoked claims that this process has heard of."""

    def __init__(self) -> None:
        self._keys: dict[ClaimKey, None] = {}

    def add(self, claims: Iterable[ClaimKey]) -> None:
        """Let none of these begin from now on."""
        self._keys |= dict.fromkeys(claims)
        while len(self._keys) > _KEPT:
            self._keys.pop(next(iter(self._keys)))

    def has(self, work: Work) -> bool:
        """Tell whether a delivery must not begin."""
        delivery = work.delivery
        return bool(self._keys) and ClaimKey(delivery.id, delivery.claimed_at) in self._keys


class Revocations:
    """The turns in which this process hears what is revoked; `stop` ends what has not begun."""

    def __init__(
        self, database: Database, lease: Lease, stop: Callable[[Sequence[ClaimKey]], None]
    ) -> None:
        self._database = database
        self._lease = lease
        self._stop = stop

    def turn(self) -> float:
        """Stop what is revoked and say so; return the seconds until the next look."""
        with self._database.reading() as db:
            revoked = revocations.of_dispatcher(db, self._lease.id)
        if revoked:
            self._stop(revoked)
            with self._database.writing() as db:
                revocations.acknowledge(db, revoked)
            log.info("claims given up: somebody has opted out", deliveries=len(revoked))
        return INTERVAL


def await_end(database: Database, claims: Sequence[ClaimKey], *, longest: float = _LONGEST) -> None:
    """Return once nothing of these claims can begin any more; raises UnheardError.

    What was under way already has ended by then, too, unless its provider takes longer than
    `longest` seconds.
    """
    until = time.monotonic() + longest
    while claims:
        is_late = time.monotonic() > until
        with database.reading() as db:
            if revocations.are_over(db, claims) or (is_late and revocations.are_heard(db, claims)):
                return
        if is_late:
            raise UnheardError
        time.sleep(_GLANCE)
