"""Overviews: what is under way and what today has brought."""

from __future__ import annotations

from service.core import overviews
from service.core.paging import PageRequest
from service.database import now_ms
from service.models import BroadcastStatus
from tests.world import ADA, GRACE, World


def test_today_is_added_up_from_the_counters_of_broadcasts(world: World) -> None:
    world.session()
    before = now_ms()
    world.broadcast([ADA, GRACE])
    world.broadcast(ADA, send_at=before + 3_600_000)
    with world.database.reading() as db:
        today = overviews.since(db, world.client_id, before - 1_000)
        tomorrow = overviews.since(db, world.client_id, before + 60_000)
        running = overviews.running(db, world.client_id, 10)
        newest = overviews.newest(db, world.client_id, 10)
    assert (today["broadcasts"], today["total"], today["sent"]) == (2, 3, 0)
    assert (tomorrow["broadcasts"], tomorrow["total"]) == (0, 0)
    assert len(running) == 1, "what is scheduled is not under way"
    assert len(newest) == 2


def test_broadcasts_are_found_by_a_part_of_their_text_and_by_state(world: World) -> None:
    world.session()
    for text in ('100 % "ébène"', "School is closed", "100 pupils"):
        world.broadcast(ADA, text)

    def found(words: str, *statuses: str) -> int:
        with world.database.reading() as db:
            return overviews.search(db, world.client_id, words, statuses, PageRequest()).total

    assert [found(words) for words in ("", "SCHOOL", "100 %", '"ébène"', "_00", "nothing")] == [
        3,
        1,
        1,
        1,
        0,
        0,
    ]
    assert found("100", BroadcastStatus.SENDING) == 2
    assert found("100", BroadcastStatus.COMPLETED) == 0


def test_an_hour_has_sixty_minutes_and_counts_what_ended_in_each(world: World) -> None:
    world.session()
    world.ready([ADA, GRACE])
    now = now_ms()
    with world.database.reading() as db:
        minutes = overviews.minutes(db, world.client_id, now=now)
    assert len(minutes) == 60
    assert minutes[-1][0] <= now < minutes[-1][0] + 60_000
    assert sum(ended for _, ended in minutes) == 0
