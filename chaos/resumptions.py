"""Resumptions: how soon messages are sent again when Postgres is back and there is work."""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from chaos.event_log import Entry
from chaos.plan import Order

LONGEST_RESUMPTION = 10.0
"""Seconds after which sending has to go on when the database is back and there is work."""

_RECEIVED = "SELECT recipient, received_at FROM messages ORDER BY received_at"


class Work(NamedTuple):
    """A delivery that was sent in the end: when it was accepted, and its last message received.

    Moments in seconds of Unix time.
    """

    accepted: float
    received: float


class Sent:
    """What was sent when: all messages, and the deliveries that they make up."""

    def __init__(self, moments: Sequence[float], works: Iterable[Work]) -> None:
        """Take the moments of all messages, in their order."""
        self._moments = moments
        works = sorted(works, key=lambda work: work.received)
        self._received = [work.received for work in works]
        earliest = accumulate((work.accepted for work in reversed(works)), min)
        self._accepted = list(earliest)[::-1]

    def next_after(self, moment: float) -> tuple[float, float] | None:
        """Return from when there was work at a moment or later, and when the next message came.

        Work is what was accepted and not yet received, else the next that is accepted.
        """
        message = bisect_left(self._moments, moment)
        work = bisect_left(self._received, moment)
        if message == len(self._moments) or work == len(self._received):
            return None
        came = self._moments[message]
        # Of what is stored when the database goes away the client may hear only afterwards.
        return min(came, max(moment, self._accepted[work])), came


def look(sandbox: Path, orders: Iterable[Order], accepted_at: Mapping[int, float]) -> Sent:
    """Return what the sandbox's store has of accepted orders; its clock is never wrong."""
    if not sandbox.exists():
        return Sent([], [])
    with closing(sqlite3.connect(sandbox)) as connection:
        rows = connection.execute(_RECEIVED).fetchall()
    last = {recipient: moment / 1000 for recipient, moment in rows}
    works = [
        Work(accepted_at[order.number], last[recipient])
        for order in orders
        if order.number in accepted_at
        for recipient in map(str, order.recipients)
        if recipient in last
    ]
    return Sent([moment / 1000 for _, moment in rows], works)


def measure(sent: Sent, away: Sequence[Entry], delays: Sequence[Entry] = ()) -> list[float]:
    """Return the seconds from each return of Postgres with work to the next message.

    Left out are returns after which Postgres went away again too soon to be blamed for, and those
    at times when work may rightly have waited for `delays`.
    """
    found: list[float] = []
    outages = sorted(away, key=lambda entry: entry.began)
    limits = [*(outage.began for outage in outages[1:]), math.inf]
    for outage, limit in zip(outages, limits, strict=False):
        if (span := _span(sent, outage.ended, limit)) and not _delayed(span, delays):
            found.append(span[1] - span[0])
    return found


def _span(sent: Sent, back: float, limit: float) -> tuple[float, float] | None:
    """Return from when to when work waited for its first message, where that is to be counted."""
    span = sent.next_after(back)
    if span is None or span[1] < limit:
        return span
    return (span[0], limit) if limit - span[0] > LONGEST_RESUMPTION else None


def _delayed(span: tuple[float, float], delays: Sequence[Entry]) -> bool:
    began, ended = span
    return any(each.began < ended and began < each.ended + each.delay for each in delays)
