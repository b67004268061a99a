"""How many deliveries a sender thread starts with, and how long it collects their answers."""

from __future__ import annotations

from service.dispatch.sending.levels import LEAST, Level


def raised() -> Level:
    """Return the level of a thread that was full, and waited three quarters of the time."""
    level = Level()
    level.note(LEAST)
    level.adjust(waited=0.75, elapsed=1.0, idle=0)
    return level


def test_a_thread_that_is_full_and_mostly_waits_starts_with_more() -> None:
    assert Level().room(under_way=10) == LEAST - 10
    assert raised().room(0) == 2 * LEAST


def test_a_thread_with_room_left_does_not_start_with_more() -> None:
    level = Level()
    level.note(LEAST - 1)
    level.adjust(waited=0.75, elapsed=1.0, idle=0)
    assert level.room(0) == LEAST


def test_a_thread_that_hardly_waits_starts_with_fewer_again() -> None:
    level = raised()
    level.adjust(waited=0.8, elapsed=1.0, idle=0)
    assert level.room(0) == LEAST
    level.adjust(waited=0.8, elapsed=1.0, idle=0)
    assert level.room(0) == LEAST


def test_what_waits_for_a_slow_provider_takes_no_room() -> None:
    level = Level()
    level.adjust(waited=0.0, elapsed=1.0, idle=5)
    assert level.room(under_way=5) == LEAST


def test_answers_are_collected_only_while_many_deliveries_are_under_way() -> None:
    """A session of a fast provider has few: collecting would make it look slow for ever."""
    level = raised()
    assert level.note(LEAST) == 0.0
    assert level.note(LEAST + 1) > 0.0
    level.adjust(waited=1.5, elapsed=1.0, idle=20)
    assert level.note(LEAST + 20) == 0.0
