"""How many messages may be under way: rules without a clock of their own."""

from __future__ import annotations

import pytest

from service.dispatch.sending.limits import PATIENCE, Limit, Response
from service.dispatch.sending.rooms import Room

ONE, OTHER = "5" * 24, "6" * 24
NOW = 1_000.0
LATE = NOW + PATIENCE + 0.1


def run(limit: Limit, response: Response = Response.ANSWER, messages: int = 1) -> int:
    """Let messages begin and end at once; return what may be under way then."""
    limit.began(messages)
    for _ in range(messages):
        limit.ended(response, [NOW], NOW)
    return int(limit.allowed)


def grown(room: Room, session_id: str) -> Limit:
    """Return a limit that takes all the room there is."""
    limit = room.of(session_id)
    for _ in range(100):
        run(limit, messages=int(limit.allowed))
    return limit


@pytest.fixture
def room() -> Room:
    return Room(256)


@pytest.mark.parametrize(
    ("size", "concurrency", "first"),
    [(4096, None, 64), (512, None, 8), (16, None, 8), (4, None, 4), (512, 4, 4), (512, 9999, 8)],
)
def test_a_session_begins_with_a_small_share(
    size: int, concurrency: int | None, first: int
) -> None:
    assert Room(size).of(ONE, concurrency).free(NOW) == first


def test_each_answer_gives_a_place_more_up_to_the_room(room: Room) -> None:
    limit = room.of(ONE)
    assert run(limit, messages=8) == 16
    for _ in range(100):
        run(limit, messages=int(limit.allowed))
    assert limit.free(NOW) == 256


def test_a_limit_that_is_not_used_does_not_grow(room: Room) -> None:
    limit = room.of(ONE)
    for _ in range(100):
        run(limit, messages=2)
    assert limit.free(NOW) == 8


def test_a_limit_that_is_not_used_any_more_does_not_grow_on(room: Room) -> None:
    limit = room.of(ONE)
    run(limit, messages=8)
    room.note_waits("sender", {}, NOW)
    for _ in range(100):
        run(limit, messages=2)
    assert limit.free(NOW) == 16


@pytest.mark.parametrize("concurrency", [1, 4, 40])
def test_no_more_than_its_concurrency_is_ever_allowed_to_a_session(
    room: Room, concurrency: int
) -> None:
    limit = room.of(ONE, concurrency)
    for _ in range(200):
        run(limit, messages=int(limit.allowed))
    assert limit.free(NOW) == concurrency


def test_a_concurrency_that_is_lowered_counts_at_once(room: Room) -> None:
    limit = room.of(ONE)
    room.began(limit, 16)
    assert room.of(ONE, 4) is limit
    assert limit.free(NOW) == 4 - 16


def test_a_concurrency_that_is_taken_away_lets_the_limit_grow_again(room: Room) -> None:
    room.of(ONE, 4)
    limit = grown(room, ONE)
    assert limit.free(NOW) == 256


def test_trouble_halves_it_once_for_all_that_were_under_way_together(room: Room) -> None:
    limit = room.of(ONE)
    limit.began(16)
    for number in range(8):
        limit.ended(Response.TROUBLE, [NOW], NOW + 1 + number / 100)
    assert limit.allowed == 4.0
    limit.ended(Response.TROUBLE, [NOW + 0.5], NOW + 2)  # it began before the others had ended
    assert limit.allowed == 4.0
    limit.ended(Response.TROUBLE, [NOW + 3], NOW + 4)
    assert limit.allowed == 2.0


def test_one_message_may_be_under_way_whatever_the_trouble(room: Room) -> None:
    limit = room.of(ONE)
    for number in range(20):
        limit.began(1)
        limit.ended(Response.TROUBLE, [NOW + number], NOW + number + 0.5)
    assert limit.free(NOW + 20) == 1
    assert run(limit) == 2


def test_what_was_not_sent_says_nothing(room: Room) -> None:
    limit = room.of(ONE)
    before = limit.allowed, limit.latency
    assert run(limit, Response.NOTHING, 16) == before[0]
    assert (limit.allowed, limit.latency) == before


def test_a_session_that_rested_begins_anew(room: Room) -> None:
    """Its connections are closed by then: as many at once as before would all open new ones."""
    limit = room.of(ONE)
    for _ in range(100):
        run(limit, messages=int(limit.allowed))
    assert limit.free(NOW + 3.9) == 256
    assert limit.free(NOW + 4.1) == 8


def test_a_session_with_something_under_way_does_not_begin_anew(room: Room) -> None:
    limit = room.of(ONE)
    for _ in range(100):
        run(limit, messages=int(limit.allowed))
    room.began(limit, 1)
    assert limit.free(NOW + 3600) == 255


def test_a_session_that_does_not_answer_keeps_its_small_share_and_no_more(room: Room) -> None:
    limit = grown(room, ONE)
    room.began(limit, 200)
    room.note_waits("sender", {ONE: [NOW] * 200}, LATE)
    assert limit.late == 200
    assert int(limit.allowed) == 8


def test_a_few_late_messages_do_not_make_a_session_silent(room: Room) -> None:
    limit = grown(room, ONE)
    room.began(limit, 200)
    room.note_waits("sender", {ONE: [NOW] * 20 + [LATE] * 180}, LATE)
    assert (limit.late, limit.is_silent, int(limit.allowed)) == (20, False, 256)
    assert room.spare(limit.client) == 256 + 20 - 200


def test_what_has_not_waited_long_is_not_late(room: Room) -> None:
    room.began(room.of(ONE), 3)
    room.note_waits("sender", {ONE: [NOW, NOW + 1, NOW + 2]}, NOW + PATIENCE)
    assert room.of(ONE).late == 0
    room.note_waits("sender", {ONE: [NOW, NOW + 1, NOW + 2]}, LATE)
    assert room.of(ONE).late == 1


def test_a_session_known_as_slow_is_late_by_its_own_measure(room: Room) -> None:
    limit = room.of(ONE)
    for _ in range(100):
        limit.began(1)
        limit.ended(Response.ANSWER, [NOW - 5.0], NOW)  # it takes five seconds each time
    room.began(limit, 1)
    room.note_waits("sender", {ONE: [NOW]}, NOW + 14.0)
    assert limit.late == 0
    room.note_waits("sender", {ONE: [NOW]}, NOW + 16.0)
    assert limit.late == 1


def test_answers_end_the_lateness_and_the_limit_grows_again(room: Room) -> None:
    limit = room.of(ONE)
    room.began(limit, 16)
    room.note_waits("sender", {ONE: [NOW] * 16}, LATE)
    room.ended(ONE, Response.ANSWER, [NOW], LATE)
    assert limit.allowed == 8.0  # not while others are late
    room.note_waits("sender", {}, LATE)
    room.ended(ONE, Response.ANSWER, [NOW], LATE)
    assert limit.allowed == 9.0


@pytest.mark.parametrize(("seconds", "allowed"), [(0.002, 32.0), (0.5, 256.0)])
def test_a_fast_provider_is_not_given_more_than_this_machine_can_serve(
    room: Room, seconds: float, allowed: float
) -> None:
    limit = room.of(ONE)
    limit.allowed = 256.0
    room.began(limit, 401)
    room.ended(ONE, Response.ANSWER, [NOW - seconds / 10], NOW)
    for _ in range(400):
        room.ended(ONE, Response.ANSWER, [NOW - seconds], NOW)
    assert limit.allowed == allowed


def test_a_session_that_is_forgotten_begins_anew(room: Room) -> None:
    grown(room, ONE)
    room.forget(ONE)
    assert room.of(ONE).free(NOW) == 8
