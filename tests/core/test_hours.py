"""Windows, by every zone's clock."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.core import hours
from service.core.hours import DAYS, Span, Window
from service.models import FOREVER

ALL = frozenset(range(7))
HOUR, DAY = 3_600_000, 86_400_000
ZONES = sorted(zoneinfo.available_timezones())

_minute = st.integers(0, 1439)
_moment = st.integers(1_700_000_000_000, 2_000_000_000_000)


def moment(written: str) -> int:
    return int(dt.datetime.fromisoformat(written).timestamp() * 1000)


def shown(at: int, zone: ZoneInfo) -> tuple[int, str]:
    """Return what a clock in a zone shows."""
    local = dt.datetime.fromtimestamp(at // 1000, zone)
    return local.weekday(), f"{local:%H:%M}"


def allows(window: Window, at: int) -> bool:
    """Tell by the clock alone whether a window is open."""
    weekday, time = shown(at, window.zone)
    begins, ends = (f"{each // 60:02}:{each % 60:02}" for each in (window.begins, window.ends))
    today, yesterday = weekday in window.days, (weekday + 6) % 7 in window.days
    if begins < ends:
        return today and begins <= time < ends
    return (today and time >= begins) or (yesterday and time < ends)


BERLIN, HAVANA, LORD_HOWE, CAIRO = map(
    ZoneInfo, ("Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Africa/Cairo")
)


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    begins=_minute,
    ends=st.integers(1, 1440),
    days=st.frozensets(st.integers(0, 6), min_size=1),
    now=_moment,
    steps=st.lists(st.floats(0, 1, exclude_max=True), min_size=20, max_size=20),
)
@example(BERLIN, 150, 180, frozenset({6}), moment("2026-03-27T12:00Z"), [0.5])
@example(BERLIN, 150, 300, ALL, moment("2026-03-28T23:00Z"), [0.5])
@example(BERLIN, 150, 300, ALL, moment("2026-10-24T23:00Z"), [0.2, 0.5])
@example(HAVANA, 0, 30, ALL, moment("2026-10-31T23:00Z"), [0.5])
@example(LORD_HOWE, 105, 120, ALL, moment("2026-04-04T12:00Z"), [0.5])
@example(CAIRO, 1320, 30, frozenset({3}), moment("2026-04-23T12:00Z"), [0.5])
def test_a_window_is_open_when_the_clock_says_so(  # noqa: PLR0913, PLR0917 - its whole domain
    zone: ZoneInfo, begins: int, ends: int, days: frozenset[int], now: int, steps: list[float]
) -> None:
    if begins == ends:
        return
    window = Window(begins, ends, days, zone)
    opens_at, closes_at = window.span(now)
    assert now <= opens_at < now + 16 * DAY
    assert opens_at < closes_at
    for step in steps:
        assert not allows(window, now + round((opens_at - now - 1) * step)) or opens_at == now
    if closes_at == FOREVER:
        assert (begins, ends, days) == (0, 1440, ALL)
        return
    for step in steps:
        assert allows(window, opens_at + int((closes_at - opens_at) * step))
    assert allows(window, opens_at)
    assert allows(window, closes_at - 1)
    assert not allows(window, closes_at)
    assert opens_at == now or not allows(window, opens_at - 1)


WORK = hours.read({"from": "08:00", "to": "20:00", "days": DAYS[:5], "zone": "Europe/Berlin"})
NIGHT = hours.read({"from": "22:00", "to": "06:00", "days": ["fri"], "zone": "Europe/Berlin"})


@pytest.mark.parametrize(
    ("window", "now", "opens", "closes"),
    [
        (WORK, "2026-11-27T20:00+01:00", "2026-11-30T08:00+01:00", "2026-11-30T20:00+01:00"),
        (WORK, "2026-03-27T20:00+01:00", "2026-03-30T08:00+02:00", "2026-03-30T20:00+02:00"),
        (NIGHT, "2026-11-28T05:00+01:00", "2026-11-28T05:00+01:00", "2026-11-28T06:00+01:00"),
        (NIGHT, "2026-11-28T06:00+01:00", "2026-12-04T22:00+01:00", "2026-12-05T06:00+01:00"),
        (NIGHT, "2022-10-28T12:00+02:00", "2022-10-28T22:00+02:00", "2022-10-29T06:00+02:00"),
    ],
)
def test_windows_skip_weekends_and_pass_midnight(
    window: Window, now: str, opens: str, closes: str
) -> None:
    assert window.span(moment(now)) == Span(moment(opens), moment(closes))


def test_all_windows_must_be_open() -> None:
    lagos = hours.read({"from": "09:00", "to": "12:00", "zone": "Africa/Lagos"})
    tokyo = hours.read({"from": "18:00", "to": "19:00", "zone": "Asia/Tokyo"})
    late = hours.read({"from": "21:00", "to": "22:00", "zone": "Africa/Lagos"})
    now = moment("2026-11-28T12:00Z")
    assert hours.opening([lagos, tokyo, WORK], now) == moment("2026-11-30T09:00Z")
    spans = hours.spans([lagos, tokyo], now)
    assert next(spans) == (moment("2026-11-29T09:00Z"), moment("2026-11-29T10:00Z"))
    assert next(spans) == (moment("2026-11-30T09:00Z"), moment("2026-11-30T10:00Z"))
    assert hours.opening([lagos, late], now) is None
    assert list(hours.spans([lagos, late], now)) == []
    assert len(list(hours.spans([lagos], now))) == 400


def test_without_a_window_it_is_always_open_and_dates_end() -> None:
    assert list(hours.spans([], 5)) == [Span(5, FOREVER)]
    assert hours.opening([], FOREVER) == FOREVER
    assert hours.opening([WORK], FOREVER) is None
