"""One rate per session, whatever the number of processes."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import paces
from service.core.paces import Pace
from service.database import now_ms
from service.dispatch.sending import pacing
from service.dispatch.sending.pacing import Slots
from service.models import Session
from tests.world import World

SECOND = 1_000_000
PACE = Pace(0.1, 0.1)
NOW = 1_700_000_000 * SECOND
RATES = st.integers(1, 20_000)
LOOKS = st.lists(
    st.tuples(
        st.integers(-SECOND, 3 * SECOND),  # µs since the last look; clocks of machines differ
        st.floats(0, 1),  # the part of what is offered that is taken
    ),
    max_size=40,
)


def offered(paced_until: int, rate: float, now: int) -> Slots:
    return pacing.offer(paced_until, Pace(1 / rate, 1 / rate), now)


def taken(rate: float, looks: Iterable[tuple[int, float]]) -> list[int]:
    """Return the moments that processes take, which look at the same session one after another."""
    now, paced_until, moments = NOW, 0, []
    for passed, part in looks:
        now += passed
        slots = offered(paced_until, rate, now)
        count = round(slots.free * part)
        moments += [slots.first + number * slots.interval for number in range(count)]
        if count:
            paced_until = slots.first + count * slots.interval
    return moments


def most_in_a_second(moments: list[int]) -> int:
    return max(
        (
            bisect.bisect_left(moments, moment + SECOND) - place
            for place, moment in enumerate(moments)
        ),
        default=0,
    )


@given(RATES, LOOKS)
def test_no_second_sees_more_than_the_rate(rate: int, looks: list[tuple[int, float]]) -> None:
    assert most_in_a_second(taken(rate, looks)) <= rate


@given(st.floats(0.01, 50), LOOKS)
def test_a_rate_below_one_or_between_two_numbers_is_kept_as_well(
    rate: float, looks: list[tuple[int, float]]
) -> None:
    assert most_in_a_second(taken(rate, looks)) <= math.ceil(rate)


@given(RATES, LOOKS)
def test_no_moment_is_given_twice_and_none_lies_in_the_past(
    rate: int, looks: list[tuple[int, float]]
) -> None:
    moments = taken(rate, looks)
    assert moments == sorted(set(moments))


@given(RATES, st.integers(1, SECOND // 2))
def test_whoever_takes_all_gets_at_least_95_percent_of_the_rate(rate: int, passed: int) -> None:
    seconds = 10
    looks = [(passed, 1.0)] * (seconds * SECOND // passed) if passed > 5_000 else []
    moments = taken(rate, looks)
    assert not looks or len(moments) >= math.floor(0.95 * rate * (seconds - 1))


@given(RATES)
def test_nothing_is_reserved_beyond_the_horizon(rate: int) -> None:
    slots = offered(0, rate, NOW)
    assert slots.first + (slots.free - 1) * slots.interval < NOW + pacing.HORIZON
    assert offered(NOW + pacing.HORIZON, rate, NOW).free == 0
    assert offered(NOW + 10 * pacing.HORIZON, rate, NOW).free == 0


@given(RATES)
def test_slots_are_reserved_a_good_many_at_a_time(rate: int) -> None:
    spoken_for = NOW + pacing.HORIZON
    look = pacing.next_look(spoken_for)
    assert offered(spoken_for, rate, look - 1).free == 0
    slots = offered(spoken_for, rate, look)
    assert slots.free * slots.interval >= pacing.WORTHWHILE


@given(RATES)
def test_what_is_late_is_made_good_by_what_the_rate_leaves_free(rate: int) -> None:
    whole = (SECOND + pacing.LATE) / offered(0, rate, NOW).interval
    assert math.floor(whole) <= rate


def test_an_idle_session_saves_up_nothing() -> None:
    assert offered(NOW - 3600 * SECOND, 10.0, NOW).first == NOW


def test_slots_are_offered_to_one_process_at_a_time(world: World) -> None:
    session_id = world.session(rate=10.0)
    now = now_ms() * 1000
    with world.database.writing() as db:
        first = pacing.offers(db, {session_id: PACE}, now=now)[session_id]
        pacing.reserve(db, {session_id: first.first + 4 * first.interval})
    with world.database.writing() as db:
        second = pacing.offers(db, {session_id: PACE}, now=now)[session_id]
    assert second.first == first.first + 4 * first.interval
    assert second.free == first.free - 4


def test_pacing_is_no_change_that_the_owner_of_a_session_sees(world: World) -> None:
    session_id = world.session(rate=10.0)
    before = world.get_session(session_id)
    with world.database.writing() as db:
        pacing.reserve(db, {session_id: NOW})
    after = world.get_session(session_id)
    assert (after.version, after.updated_at) == (before.version, before.updated_at)
    assert after.paced_until == NOW


def test_sessions_without_a_rate_are_not_looked_up(world: World) -> None:
    with world.database.writing() as db:
        assert pacing.offers(db, {}, now=NOW) == {}


def test_a_rate_near_nothing_still_has_slots_that_can_be_stored() -> None:
    pace = paces.of(Session(rate=5e-324))
    assert pace
    slots = pacing.offer(0, pace, now=1_800_000_000_000_000)
    assert slots.free == 1
    assert slots.first + slots.interval < 2**63


def test_jitter_draws_each_time_between_two_messages() -> None:
    assert paces.of(Session()) is None
    assert paces.of(Session(rate=2)) == Pace(0.5, 0.5)
    assert paces.of(Session(rate=0.5, jitter={"from": 1, "to": 9})) == Pace(2, 9)
    pace = paces.of(Session(jitter={"from": 1, "to": 9}))
    assert pace == Pace(1, 9)
    assert pace.rate == pytest.approx(1 / 5)
    slots = pacing.offer(0, pace, NOW)
    assert slots.free == 1
    drawn = sorted(slots.draw() for _ in range(200))
    assert SECOND <= drawn[0] < 2 * SECOND
    assert 8 * SECOND < drawn[-1] <= 9 * SECOND + pacing.LATE


@given(st.floats(0.001, 1), LOOKS)
def test_below_one_a_second_no_two_are_nearer_than_the_rate_says(
    rate: float, looks: list[tuple[int, float]]
) -> None:
    moments = taken(rate, [(8 * passed, part) for passed, part in looks])
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert all(SECOND / rate + pacing.LATE <= gap for gap in gaps)


def test_a_slow_rate_is_used_to_the_full() -> None:
    moments = taken(0.1, [(SECOND // 10, 1.0)] * 10_000)
    assert len(moments) == 100
