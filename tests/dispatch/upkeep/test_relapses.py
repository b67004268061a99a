"""How long a session waits that is blocked again each time it is released."""

from __future__ import annotations

from service.dispatch.upkeep.relapses import LONGEST_WAIT, Relapses


def waits(relapses: Relapses, times: int) -> list[float]:
    """Release a session as soon as it may be, again and again; return the waits between."""
    now, found = 0.0, []
    for _ in range(times):
        relapses.note_release("session", now)
        wait = next(each for each in range(10_000) if relapses.may_release("session", now + each))
        found.append(float(wait))
        now += wait
    return found


def test_the_waits_double_up_to_an_hour() -> None:
    assert waits(Relapses(60.0), 8) == [60, 120, 240, 480, 960, 1920, LONGEST_WAIT, LONGEST_WAIT]


def test_a_session_that_sent_for_long_enough_starts_anew() -> None:
    relapses = Relapses(60.0)
    assert waits(relapses, 3) == [60, 120, 240]
    relapses.note_release("other", 10_000.0)
    relapses.note_release("session", 10_000.0)
    assert relapses.may_release("session", 10_060.0)
    assert not relapses.may_release("other", 10_059.0)
