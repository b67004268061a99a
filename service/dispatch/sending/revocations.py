"""Revoked claims: claimed deliveries that must not begin, because the recipient has opted out.

A web process that receives an opt-out revokes the claims on that recipient's deliveries in the
database. It answers once the dispatchers that hold these claims have stopped them (`await_end`).
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
from service.dispatch.sending.lanes import Work
from service.errors import BusyError

log = structlog.get_logger(__name__)

_INTERVAL: Final = 1.0
"""Seconds between two queries if no signal comes: it may have been lost. A request that adds an
opt-out waits longer."""

_LONGEST: Final = 2.0
"""Seconds for which a request that adds an opt-out waits for the claims to end."""

_GLANCE: Final = 0.01

_KEPT: Final = 10_000
"""Revoked claims to remember. Older ones have ended."""


class UnheardError(BusyError):
    """A process that may be sending to this person does not respond. Send this request again."""


class RevokedClaims:
    """The revoked claims that this process knows, in `keys`."""

    def __init__(self) -> None:
        self.keys: dict[ClaimKey, None] = {}

    def add(self, claims: Iterable[ClaimKey]) -> None:
        """Stop these claims from beginning."""
        self.keys |= dict.fromkeys(claims)
        while len(self.keys) > _KEPT:
            self.keys.pop(next(iter(self.keys)))

    def has(self, work: Work) -> bool:
        """Return whether a delivery's claim is revoked."""
        return ClaimKey(work.delivery.id, work.delivery.claimed_at) in self.keys


class Revocations:
    """The turns that read revocations; `stop` releases the deliveries that have not begun."""

    def __init__(
        self, database: Database, lease: Lease, stop: Callable[[Sequence[ClaimKey]], None]
    ) -> None:
        self._database = database
        self._lease = lease
        self._stop = stop

    def turn(self) -> float:
        """Stop revoked claims and acknowledge them; return the seconds until the next turn."""
        with self._database.reading() as db:
            revoked = revocations.of_dispatcher(db, self._lease.id)
        if revoked:
            self._stop(revoked)
            with self._database.writing() as db:
                revocations.acknowledge(db, revoked)
            log.info("claims released after an opt-out", deliveries=len(revoked))
        return _INTERVAL


def await_end(database: Database, claims: Sequence[ClaimKey], *, longest: float = _LONGEST) -> None:
    """Wait until no delivery of these claims can begin; raises UnheardError.

    It also waits for deliveries already under way, but at most `longest` seconds.
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
