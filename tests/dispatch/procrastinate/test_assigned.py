"""What is assigned may be claimed, and is put away when there is nothing to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.config import Settings
from service.core.jobs import Job
from service.database import now_ms
from service.dispatch.procrastinate import assigned
from service.dispatch.procrastinate.assigned import AssignedBroadcasts
from tests import workers
from tests.conftest import on_postgres
from tests.waiting import until
from tests.workers import queued
from tests.world import ADA, World

pytestmark = on_postgres

LATER = 3_600_000


@pytest.fixture
def queue(settings: Settings) -> Iterator[World]:
    """Return a world whose broadcasts leave jobs, and no worker."""
    with queued(settings) as world:
        world.session()
        yield world


@pytest.fixture
def table(queue: World) -> AssignedBroadcasts:
    """Return an empty desk whose turns the test takes."""
    return AssignedBroadcasts(queue.settings, queue.database, lambda: None, 256)


def accepted(world: World) -> Job:
    """Return the job of a broadcast with one delivery, as if it were fetched."""
    job = Job(world.ready([ADA]), 0)
    world.tell("DELETE FROM procrastinate_jobs")
    return job


def test_what_is_taken_may_be_claimed_and_is_told(queue: World) -> None:
    told: list[bool] = []
    table = AssignedBroadcasts(queue.settings, queue.database, lambda: told.append(True), 256)
    job = accepted(queue)
    done = table.take(job)
    assert table.broadcast_ids() == [job.broadcast_id]
    assert told == [True]
    table.turn()
    assert not done.done()


def test_what_is_finished_is_put_away_for_good(queue: World, table: AssignedBroadcasts) -> None:
    done = table.take(accepted(queue))
    queue.tell("UPDATE broadcasts SET closed_at = 1")
    table.turn()
    assert done.done()
    assert table.broadcast_ids() == []
    assert workers.jobs(queue) == []


def test_what_waits_for_its_next_attempt_is_put_away_until_then(
    queue: World, table: AssignedBroadcasts
) -> None:
    job = accepted(queue)
    done = table.take(job)
    due_at = now_ms() + LATER
    queue.tell("UPDATE deliveries SET due_at = :due_at", due_at=due_at)
    table.turn()
    assert done.done()
    [later] = workers.jobs(queue)
    assert later.name == f"{job.broadcast_id}/0+"
    assert round(later.scheduled_at.timestamp() * 1000) == due_at


def test_what_lies_here_already_is_left_to_another_worker_for_longer_each_time(
    queue: World, table: AssignedBroadcasts
) -> None:
    job = accepted(queue)
    first = table.take(job)
    for deferrals, wait in enumerate((1, 2, 4, 8, 16, 16)):
        second = table.take(Job(job.broadcast_id, 1, deferrals=deferrals))
        began = now_ms()
        table.turn()
        assert second.done()
        [waiting] = workers.jobs(queue)
        assert waiting.args == {
            "broadcast_id": job.broadcast_id,
            "lane": 1,
            "put_off": deferrals + 1,
        }
        assert waiting.scheduled_at.timestamp() * 1000 >= began + 1000 * wait
        queue.tell("DELETE FROM procrastinate_jobs")
    assert not first.done()


def test_what_is_put_off_does_not_come_back_for_a_broadcast_that_has_ended(
    queue: World, table: AssignedBroadcasts
) -> None:
    job = accepted(queue)
    done = [table.take(job), table.take(job._replace(lane=1))]
    queue.tell("UPDATE broadcasts SET closed_at = 1")
    table.turn()
    assert all(each.done() for each in done)
    assert workers.jobs(queue) == []


def test_after_its_turn_a_broadcast_makes_room_for_those_that_wait(
    queue: World, table: AssignedBroadcasts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assigned, "TURN", -1.0)
    job = accepted(queue)
    done = table.take(job)
    table.turn()
    assert not done.done(), "nobody waits"
    other = queue.broadcast(ADA)
    table.turn()
    assert done.done()
    names = [waiting.name for waiting in workers.jobs(queue)]
    assert names == [f"{other}/0", f"{job.broadcast_id}/0"], "it goes to the end of the queue"


def test_where_all_places_are_taken_the_oldest_make_room_soon(
    queue: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assigned, "SHORT_TURN", -1.0)
    monkeypatch.setattr(assigned, "_RELEASED", 1)
    table = AssignedBroadcasts(queue.settings, queue.database, lambda: None, 2)
    oldest, other = (table.take(accepted(queue)) for _ in range(2))
    table.turn()
    assert not oldest.done(), "nobody waits"
    queue.broadcast(ADA)
    table.turn()
    assert (oldest.done(), other.done()) == (True, False)


def test_no_broadcast_stays_for_ever_as_its_job_may_be_lost(
    queue: World, table: AssignedBroadcasts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assigned, "LONGEST_TURN", -1.0)
    job = accepted(queue)
    done = table.take(job)
    table.turn()
    assert done.done()
    assert [waiting.name for waiting in workers.jobs(queue)] == [f"{job.broadcast_id}/0"]


def test_a_job_that_is_broken_off_leaves_its_broadcast_on_the_desk(
    queue: World, table: AssignedBroadcasts
) -> None:
    job = accepted(queue)
    assert not table.take(job).cancel()
    table.turn()
    assert table.broadcast_ids() == [job.broadcast_id]


def test_when_closed_it_leaves_all_to_others_at_once(
    queue: World, table: AssignedBroadcasts
) -> None:
    table.loop.start()
    job = accepted(queue)
    done = table.take(job)
    table.close()
    assert done.done()
    assert table.broadcast_ids() == []
    assert [waiting.name for waiting in workers.jobs(queue)] == [f"{job.broadcast_id}/0"]
    assert table.take(job).done(), "it takes nothing more"
    assert table.broadcast_ids() == []


def test_what_cannot_be_left_for_others_still_ends(queue: World, table: AssignedBroadcasts) -> None:
    done = table.take(accepted(queue))
    queue.tell("ALTER TABLE procrastinate_jobs RENAME TO gone")
    with pytest.raises(Exception, match="procrastinate_jobs"):
        table.close()
    assert done.done()


def test_the_desk_looks_by_itself(queue: World, table: AssignedBroadcasts) -> None:
    table.loop.start()
    done = table.take(accepted(queue))
    queue.tell("UPDATE broadcasts SET closed_at = 1")
    until(done.done)
    table.close()
