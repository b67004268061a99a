"""Rates: what is allowed at once, what after a while, and clocks that jump."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.core import rates
from service.core.rates import SECOND, Rate

RATE = rates.per_second(10, burst=5)
NOW = 1_000_000_000


def test_a_burst_is_allowed_at_once_and_then_one_for_each_interval() -> None:
    first = rates.draw(RATE, 0, 9, now=NOW)
    assert (first.granted, first.left, first.wait) == (5, 0, SECOND // 10)
    early = rates.draw(RATE, first.spent_until, 1, now=NOW + SECOND // 10 - 1)
    assert (early.granted, early.wait) == (0, 1)
    assert rates.draw(RATE, first.spent_until, 3, now=NOW + SECOND // 10).granted == 1
    assert rates.draw(RATE, first.spent_until, 9, now=NOW + RATE.window).granted == 5


def test_a_clock_that_is_set_back_by_a_year_costs_one_burst() -> None:
    spent = rates.draw(RATE, 0, 1, now=NOW + 10**15).spent_until
    closed = rates.draw(RATE, spent, 1, now=NOW)
    assert (closed.granted, closed.wait) == (0, RATE.interval)
    assert rates.draw(RATE, closed.spent_until, 1, now=NOW + RATE.interval).granted == 1


def test_a_limit_that_is_lowered_counts_from_then_on() -> None:
    spent = rates.draw(Rate(1_000, SECOND), 0, 1_000, now=NOW).spent_until
    assert rates.draw(RATE, spent, 1, now=NOW + RATE.interval).granted == 0
    closed = rates.draw(RATE, spent, 0, now=NOW)
    assert rates.draw(RATE, closed.spent_until, 9, now=NOW + RATE.window).granted == 5


@given(
    burst=st.integers(1, 50),
    interval=st.integers(1, 10_000),
    pauses=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 10)), max_size=60),
)
def test_no_span_of_time_has_more_than_a_burst_and_what_its_length_allows(
    burst: int, interval: int, pauses: list[tuple[int, int]]
) -> None:
    rate, now, spent = Rate(burst, interval), NOW, 0
    granted: list[tuple[int, int]] = []
    for pause, wanted in pauses:
        now += pause
        drawn = rates.draw(rate, spent, wanted, now=now)
        spent = drawn.spent_until
        granted.append((now, drawn.granted))
    for at, (start, _) in enumerate(granted):
        total = 0
        for moment, count in granted[at:]:
            total += count
            assert total <= burst + (moment - start) // interval
