"""Schedules: how many of a broadcast are sent when, by its windows, its pace and its daily limit.

Everything here is computed from the arguments. Moments are Unix milliseconds.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from service.core import hours, zones
from service.core.daily_limits import DAY
from service.core.hours import ALWAYS, Span, Window
from service.core.moments import UNIX_EPOCH

_HOUR: Final = 3_600_000

_MOST_RUNS: Final = 2_000
"""Runs after which a schedule ends, whatever is left."""

_NOBODY: Final = 1e-6
"""Fractions of a recipient that are left by calculating with them."""


class Run(NamedTuple):
    """A time in which deliveries are sent, and how many: a fraction where its end cuts one."""

    begins_at: int
    ends_at: int
    number: float


@dataclass(slots=True)
class Crowd:
    """Recipients who may be written to at the same hours, from a moment on.

    `is_free`: they do not count towards the daily limit, as they count already. `zones` are theirs
    if a window is in the zones of recipients.
    """

    windows: Sequence[Window]
    count: float
    since: int = 0
    is_free: bool = False
    zones: tuple[str, ...] = ()
    _span: Span = field(default=Span(0, 0))

    def span(self, now: int) -> Span | None:
        """Return the first time from `now` in which they may be written to; None: never."""
        now = max(now, self.since)
        if not self.windows:
            return Span(now, ALWAYS.closes_at)
        if self._span.closes_at <= now:
            self._span = next(hours.spans(self.windows, now), Span(0, 0))
        return self._span if self._span.closes_at else None


def crowds(
    windows: Sequence[Mapping[str, Any] | None],
    people: Iterable[str],
    counted: Container[str] = (),
) -> list[Crowd]:
    """Return people by the hours in which all of these windows are open for them.

    `counted` are those who count towards the daily limit already.
    """
    by_zone = any(map(hours.is_recipients, windows))
    sizes = Counter((zones.of(each) if by_zone else (), each in counted) for each in people)
    return [
        Crowd(hours.read_all(*windows, zones=names), count, is_free=is_free, zones=names)
        for (names, is_free), count in sizes.items()
    ]


@dataclass(slots=True)
class Places:
    """How many people a daily limit has room for: so many more from each moment on, in order."""

    freed: deque[tuple[int, float]]

    @classmethod
    def of(cls, most: int, counted_at: Sequence[int]) -> Places:
        """Return the room that people leave who count since these moments, by the hour."""
        excess = max(0, len(counted_at) - most)
        hourly = Counter(-(-moment // _HOUR) * _HOUR for moment in counted_at[excess:])
        leaving = [(moment + DAY, float(hourly[moment])) for moment in sorted(hourly)]
        return cls(deque([(0, float(max(0, most - len(counted_at)))), *leaving]))

    def at(self, now: int) -> float:
        """Return for how many there is places."""
        return sum(count for _, count in takewhile(lambda place: place[0] <= now, self.freed))

    def next(self, now: int) -> int:
        """Return when there is room for more than there is now."""
        return next(moment for moment, _ in self.freed if moment > now)

    def take(self, count: float, now: int) -> None:
        """Use room for so many, who leave it a day later."""
        self.freed.append((now + DAY, count))
        while count > 0:
            moment, free = self.freed.popleft()
            if free > count:
                self.freed.appendleft((moment, free - count))
            count -= free


def runs(
    crowds: Sequence[Crowd], speed: float | None, places: Places | None, begins_at: int
) -> Iterator[Run]:
    """Yield the runs of a schedule, in order; `speed` is in deliveries per second, None: no limit.

    What can never be sent is in none of them, nor is what needs too many.
    """
    now = begins_at
    for _ in range(_MOST_RUNS):
        left = (each for each in crowds if each.count > _NOBODY)
        turns = [(span, each) for each in left if (span := each.span(now))]
        if not turns:
            return
        free = places.at(now) if places else math.inf
        open_ones = [
            (span.closes_at, number)
            for number, (span, each) in enumerate(turns)
            if span.opens_at <= now and (each.is_free or free > _NOBODY)
        ]
        if not open_ones:
            later = [span.opens_at for span, _ in turns if span.opens_at > now]
            now = min([*later, places.next(now)] if places and free <= _NOBODY else later)
            continue
        closes_at, number = min(open_ones)
        crowd = turns[number][1]
        run = _run(crowd, now, closes_at, speed, math.inf if crowd.is_free else free)
        crowd.count -= run.number
        if places and not crowd.is_free:
            places.take(run.number, now)
        yield run
        now = run.ends_at


def _run(crowd: Crowd, now: int, closes_at: int, speed: float | None, free: float) -> Run:
    count = min(crowd.count, free)
    if speed is None:
        return Run(now, now, count)
    ends_at = now + round(count * 1000 / speed)
    if ends_at <= closes_at:
        return Run(now, ends_at, count)
    return Run(now, closes_at, (closes_at - now) * speed / 1000)


class DayCount(NamedTuple):
    """The recipients of a broadcast on one day."""

    date: dt.date
    number: int


def days(found: Iterable[Run], zone: ZoneInfo) -> list[DayCount]:
    """Add up the recipients of each day in a zone, in order."""
    sums: dict[dt.date, float] = {}
    for run in found:
        for piece in _by_day(run, zone):
            date = _date(piece.begins_at, zone)
            sums[date] = sums.get(date, 0.0) + piece.number
    return [*_whole(sums)]


def _by_day(run: Run, zone: ZoneInfo) -> Iterator[Run]:
    """Cut a run at midnight."""
    while run.ends_at > (midnight := _midnight(run.begins_at, zone)):
        part = run.number * (midnight - run.begins_at) / (run.ends_at - run.begins_at)
        yield Run(run.begins_at, midnight, part)
        run = Run(midnight, run.ends_at, run.number - part)
    yield run


def _whole(sums: dict[dt.date, float]) -> Iterator[DayCount]:
    """Round the sums so that they add up, and leave out days on which nobody is left."""
    total, told = 0.0, 0
    for date, count in sums.items():
        total += count
        if (whole := round(total) - told) > 0:
            yield DayCount(date, whole)
            told += whole


def _date(at: int, zone: ZoneInfo) -> dt.date:
    return (UNIX_EPOCH + dt.timedelta(milliseconds=at)).astimezone(zone).date()


def _midnight(at: int, zone: ZoneInfo) -> int:
    """Return when the next day begins."""
    day = dt.datetime.combine(_date(at, zone) + dt.timedelta(days=1), dt.time(), zone)
    return (day - UNIX_EPOCH) // dt.timedelta(milliseconds=1)
