"""Allowances: how many events a key may still cause, such as requests of a client.

The processes of a machine count together in a rate table, so an event costs microseconds and no
query. If there may be other machines, a table borrows events from the database, many at a time
while many are left and one at a time near the end. All processes of a machine share what it has
borrowed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import structlog

from service.core import rate_table, rates
from service.core.rate_table import RateTable, Slot
from service.core.rates import DrawResult, Rate

log = structlog.get_logger(__name__)

Lender = Callable[[str, Rate], DrawResult]
"""Lends some events of a key's rate, from what all machines share."""


class Allowance(NamedTuple):
    """Whether an event is allowed, how many more are, and after how many microseconds the next."""

    is_granted: bool
    left: int
    wait: int


class Allowances:
    """The allowances of all keys of one kind, such as all clients."""

    def __init__(self, table: RateTable, lender: Lender | None = None) -> None:
        self._table = table
        self._lender = lender
        self._borrowing = threading.Lock()
        self._is_broken = False

    def take(self, key: str, rate: Rate, *, now: int | None = None) -> Allowance:
        """Count an event, if it is allowed. `now` is as of `rate_table.clock`.

        If the table cannot be used, as on a full disk, all events are allowed.
        """
        key, now = _with_rate(key, rate), rate_table.clock() if now is None else now
        try:
            allowance = self._spend(key, rate, now)
            while allowance is None and self._lender:
                allowance = self._borrow(self._lender, key, rate, now)
            return allowance or _refusal(rate.interval)
        except OSError as error:
            return self._unlimited(rate, error)

    def look(self, key: str, rate: Rate, *, now: int | None = None) -> Allowance:
        """Return whether an event would be allowed on this machine, without counting it."""
        key, now = _with_rate(key, rate), rate_table.clock() if now is None else now
        try:
            drawn = self._table.change(key, partial(_look, rate=rate, now=now))
        except OSError as error:
            return self._unlimited(rate, error)
        return Allowance(is_granted=drawn.left > 0, left=drawn.left, wait=drawn.wait)

    def _spend(self, key: str, rate: Rate, now: int) -> Allowance | None:
        """Count an event; return None if more has to be borrowed for it."""
        spend = partial(_spend, rate=rate, now=now, borrows=self._lender is not None)
        return self._table.change(key, spend)

    def _borrow(self, lender: Lender, key: str, rate: Rate, now: int) -> Allowance | None:
        """Borrow events of a key and count one. One process of a machine asks for a key at a time.

        Otherwise one could be refused while another still brings what it has borrowed.
        """
        with self._borrowing, self._table.alone(key):
            if allowance := self._spend(key, rate, now):
                return allowance
            loan = lender(key, rate)
            self._table.change(key, partial(_lend, loan=loan, now=now))
            return self._spend(key, rate, now)

    def _unlimited(self, rate: Rate, error: OSError) -> Allowance:
        if not self._is_broken:
            self._is_broken = True
            log.error("rates cannot be counted, so they do not limit anything", error=str(error))
        return Allowance(is_granted=True, left=rate.burst, wait=0)


def _with_rate(key: str, rate: Rate) -> str:
    """Return a key that includes the rate, so that a new limit applies at once."""
    return f"{key} {rate.burst} {rate.interval}"


def _spend(slot: Slot, rate: Rate, now: int, *, borrows: bool) -> tuple[Slot, Allowance | None]:
    drawn = rates.draw(rate, slot.spent_until, 1, now=now)
    if not drawn.granted:
        return slot._replace(spent_until=drawn.spent_until), _refusal(drawn.wait)
    if borrows and not slot.lent:
        wait = slot.closed_until - now
        return slot, _refusal(wait) if 0 < wait <= rate.window else None
    spent = slot._replace(spent_until=drawn.spent_until, lent=max(0, slot.lent - 1))
    return spent, Allowance(is_granted=True, left=drawn.left, wait=drawn.wait)


def _refusal(wait: int) -> Allowance:
    return Allowance(is_granted=False, left=0, wait=wait)


def _lend(slot: Slot, loan: DrawResult, now: int) -> tuple[Slot, None]:
    closed_until = 0 if loan.granted else now + loan.wait
    return slot._replace(lent=slot.lent + loan.granted, closed_until=closed_until), None


def _look(slot: Slot, rate: Rate, now: int) -> tuple[Slot, DrawResult]:
    return slot, rates.draw(rate, slot.spent_until, 0, now=now)
