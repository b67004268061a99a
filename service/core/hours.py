"""Hours: the days and local times at which a broadcast or a session may send.

Everything here is computed from the arguments, without a database or a clock. Moments are Unix
milliseconds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from service.core.moments import UNIX_EPOCH
from service.models import FOREVER

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

RECIPIENT: Final = "recipient"
"""The zone of a window that stands for the zones of each recipient."""

_DAY: Final = 86_400_000
_HORIZON: Final = 16
"""Days within which a window opens and closes: two weeks, because a change of clocks may skip the
only opening of a week."""

_LAST: Final = FOREVER - 4 * _HORIZON * _DAY
"""The last moment whose window is looked for: dates end with the year 9999."""

_MOST_SPANS: Final = 400
"""Open spans that `spans` yields: more than a year of daily ones."""


class Span(NamedTuple):
    """A time in which sending is allowed, from `opens_at` until before `closes_at`."""

    opens_at: int
    closes_at: int


ALWAYS: Final = Span(0, FOREVER)


@dataclass(frozen=True, slots=True)
class Window:
    """Local times on some days of the week, in minutes after midnight.

    If it ends at or before its beginning, it ends on the next day. `days` are the days on which it
    begins, counted from Monday as 0.
    """

    begins: int
    ends: int
    days: frozenset[int]
    zone: ZoneInfo

    def is_open(self, at: int) -> bool:
        """Return whether a clock in the zone shows a time within the window."""
        local = _local(at, self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.begins < self.ends:
            return self.begins <= minute < self.ends and today in self.days
        yesterday = (today - 1) % len(DAYS)
        return (minute >= self.begins and today in self.days) or (
            minute < self.ends and yesterday in self.days
        )

    def span(self, now: int) -> Span:
        """Return the rest of the span that is open at `now`, or else the next one."""
        moments = [now, *self._changes(now)]
        opens_at = next((each for each in moments if self.is_open(each)), FOREVER)
        later = (each for each in moments if each > opens_at and not self.is_open(each))
        return Span(opens_at, next(later, FOREVER))

    def _changes(self, now: int) -> list[int]:
        """Return the moments after `now` at which the window may open or close, in order."""
        yesterday = _local(now, self.zone).date() - dt.timedelta(days=1)
        days = [yesterday + dt.timedelta(days=number) for number in range(_HORIZON + 2)]
        found = {each for day in days for each in self._boundaries(day)}
        found.update(_changes_of_clocks(self.zone, now - _DAY, now + _HORIZON * _DAY))
        return sorted(each for each in found if each > now)

    def _boundaries(self, day: dt.date) -> Iterator[int]:
        """Yield when the clock shows the window's times: twice where the clock is put back."""
        midnight = dt.datetime.combine(day, dt.time(), self.zone)
        for minute in (self.begins, self.ends):
            shown = midnight + dt.timedelta(minutes=minute)
            for fold in (0, 1):
                yield _milliseconds(shown.replace(fold=fold))


def read(window: Mapping[str, Any], zone: str = "") -> Window:
    """Return a window from its JSON, which has been validated; in `zone` instead of its own."""
    days = frozenset(map(DAYS.index, window.get("days") or DAYS))
    begins, ends = _minutes(window["from"]), _minutes(window["to"])
    return Window(begins, ends, days, ZoneInfo(zone or window["zone"]))


def is_recipients(window: Mapping[str, Any] | None) -> bool:
    """Return whether a window is in the zones of each recipient."""
    return window is not None and window["zone"] == RECIPIENT


def read_all(*windows: Mapping[str, Any] | None, zones: Collection[str] = ()) -> list[Window]:
    """Return the windows that are set.

    A window in the recipient's zone is repeated for each of their `zones`.
    """
    return [
        read(window, zone)
        for window in windows
        if window
        for zone in (zones if is_recipients(window) else ("",))
    ]


def opening(windows: Sequence[Window], now: int) -> int | None:
    """Return when all windows are first open, `now` at the earliest.

    Returns None if they are not open at the same time within 16 days.
    """
    if not windows:
        return now
    at, last = now, min(now + _HORIZON * _DAY, _LAST)
    while at < last:
        later = max(window.span(at).opens_at for window in windows)
        if later == at:
            return at
        at = later
    return None


def spans(windows: Sequence[Window], now: int) -> Iterator[Span]:
    """Yield the spans from `now` in which all windows are open, up to 400."""
    at = now
    for _ in range(_MOST_SPANS):
        opens_at = opening(windows, at)
        if opens_at is None:
            return
        at = min((window.span(opens_at).closes_at for window in windows), default=FOREVER)
        yield Span(opens_at, at)
        if at == FOREVER:
            return


def _minutes(time: str) -> int:
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


def _local(at: int, zone: ZoneInfo) -> dt.datetime:
    return (UNIX_EPOCH + dt.timedelta(milliseconds=at)).astimezone(zone)


def _milliseconds(moment: dt.datetime) -> int:
    return (moment - UNIX_EPOCH) // dt.timedelta(milliseconds=1)


def _changes_of_clocks(zone: ZoneInfo, start: int, end: int) -> Iterator[int]:
    """Yield the moments at which the zone's offset from UTC changes."""
    for early, late in pairwise(range(start, end + 1, _DAY)):
        before = _local(early, zone).utcoffset()
        if before == _local(late, zone).utcoffset():
            continue
        while late - early > 1:
            middle = (early + late) // 2
            if _local(middle, zone).utcoffset() == before:
                early = middle  # noqa: PLW2901 - the search narrows the pair
            else:
                late = middle  # noqa: PLW2901 - as above
        yield late
