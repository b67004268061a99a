"""Jobs: left with what gives a reason to look, and never twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from service.config import Settings
from service.core import jobs
from service.core.jobs import Job
from service.database import now_ms
from service.dispatch.procrastinate import engine
from service.models import FOREVER
from tests import workers
from tests.conftest import on_postgres
from tests.waiting import until
from tests.workers import queued
from tests.world import ADA, World, numbers

pytestmark = on_postgres

LATER = 3_600_000


@pytest.fixture
def queue(settings: Settings) -> Iterator[World]:
    """Return a world whose broadcasts leave jobs, and no worker."""
    with queued(settings) as world:
        world.session()
        yield world


def names(world: World) -> list[str]:
    return [job.name for job in workers.jobs(world)]


def clear(world: World) -> None:
    world.tell("DELETE FROM procrastinate_jobs")


def looks(world: World, *broadcast_ids: str) -> dict[str, int]:
    with world.database.reading() as db:
        return jobs.next_looks(db, broadcast_ids, now=now_ms())


def defer(world: World, *wanted: Job) -> None:
    with world.database.writing() as db:
        jobs.defer(db, wanted)


def defer_missing(world: World) -> int:
    with world.database.writing() as db:
        return jobs.defer_missing(db, world.settings.lanes, now=now_ms())


def test_a_broadcast_is_accepted_together_with_a_job(queue: World) -> None:
    broadcast_id = queue.broadcast(ADA)
    [job] = workers.jobs(queue)
    assert job.args == {"broadcast_id": broadcast_id, "lane": 0, "put_off": 0}
    assert (job.name, job.status, job.scheduled_at) == (f"{broadcast_id}/0", "todo", None)


@pytest.mark.parametrize(("recipients", "lanes"), [(1_000, 1), (1_001, 2), (9_000, 4)])
def test_as_many_workers_may_share_a_broadcast_as_are_of_use(
    queue: World, recipients: int, lanes: int
) -> None:
    broadcast_id = queue.broadcast(numbers(recipients))
    assert names(queue) == [f"{broadcast_id}/{lane}" for lane in range(lanes)]


def test_a_scheduled_broadcast_has_a_job_for_its_time(queue: World) -> None:
    send_at = now_ms() + LATER
    queue.broadcast(ADA, send_at=send_at)
    [job] = workers.jobs(queue)
    assert round(job.scheduled_at.timestamp() * 1000) == send_at


def test_without_the_engine_nothing_is_left(world: World) -> None:
    engine.set_up(world.database)
    world.session()
    world.broadcast(ADA)
    assert workers.jobs(world) == []


def test_the_same_job_never_waits_twice(queue: World) -> None:
    broadcast_id = queue.broadcast(ADA)
    defer(queue, Job(broadcast_id, 0), Job(broadcast_id, 1))
    assert names(queue) == [f"{broadcast_id}/0", f"{broadcast_id}/1"]


def test_a_job_for_later_is_not_in_the_way_of_one_at_once(queue: World) -> None:
    broadcast_id = queue.broadcast(ADA, send_at=now_ms() + LATER)
    defer(queue, Job(broadcast_id, 0), Job(broadcast_id, 0, now_ms() + LATER))
    assert sorted(names(queue)) == [f"{broadcast_id}/0", f"{broadcast_id}/0+"]


def test_of_jobs_that_somebody_else_is_just_leaving_the_others_are_left(queue: World) -> None:
    broadcast_id = queue.broadcast(ADA)
    clear(queue)
    wanted = [Job(broadcast_id, 1), Job(broadcast_id, 0)]
    rival = threading.Thread(target=defer, args=(queue, *wanted))
    with queue.database.writing() as db:
        jobs.defer(db, wanted[:1])
        rival.start()
        until(lambda: queue.ask("SELECT 1 FROM pg_locks WHERE NOT granted"))
    rival.join()
    assert sorted(names(queue)) == [f"{broadcast_id}/0", f"{broadcast_id}/1"]


def test_a_rolled_back_transaction_leaves_no_job(queue: World) -> None:
    with queue.database.writing() as db:
        jobs.defer(db, [Job("1" * 24, 0)])
        db.rollback()
    assert workers.jobs(queue) == []


def test_nothing_is_to_be_looked_at_before_its_time(queue: World) -> None:
    now, later = now_ms(), now_ms() + LATER
    fresh = queue.broadcast(ADA)
    scheduled = queue.broadcast(ADA, send_at=later)
    assert looks(queue, fresh, scheduled) == {fresh: pytest.approx(now, abs=60_000)} | {
        scheduled: later
    }
    queue.fan_out(fresh)
    queue.tell("UPDATE deliveries SET due_at = :later", later=later + 1)
    assert looks(queue, fresh) == {fresh: later + 1}


def test_what_is_under_way_is_looked_at_as_it_may_fail(queue: World) -> None:
    broadcast_id = queue.ready([ADA])
    queue.tell("UPDATE deliveries SET status = 'sending', claim_id = :claim", claim="1" * 24)
    assert looks(queue, broadcast_id)[broadcast_id] <= now_ms()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE broadcasts SET status = 'paused'",
        "UPDATE broadcasts SET status = 'cancelled'",
        "UPDATE broadcasts SET expires_at = 1",
        "UPDATE broadcasts SET closed_at = 1",
        f"UPDATE sessions SET held_until = {FOREVER}",  # noqa: S608 - a number of ours
    ],
)
def test_there_is_no_look_at_what_cannot_be_sent(queue: World, change: str) -> None:
    broadcast_id = queue.ready([ADA])
    clear(queue)
    queue.tell(change)
    assert looks(queue, broadcast_id) == {}
    assert defer_missing(queue) == 0


def test_a_session_that_is_to_wait_is_looked_at_afterwards(queue: World) -> None:
    broadcast_id = queue.ready([ADA])
    until_then = now_ms() + LATER
    queue.tell("UPDATE sessions SET held_until = :until", until=until_then)
    assert looks(queue, broadcast_id) == {broadcast_id: until_then}


def test_the_next_look_is_when_a_window_opens_or_soon_after_it_closed(queue: World) -> None:
    broadcast_id = queue.ready(ADA)
    opens = now_ms() + LATER
    queue.tell("UPDATE broadcasts SET opens_at = :opens", opens=opens)
    assert looks(queue, broadcast_id) == {broadcast_id: opens}
    clear(queue)
    assert defer_missing(queue) == 0
    queue.tell("UPDATE broadcasts SET opens_at = 0, closes_at = :now", now=now_ms())
    assert now_ms() < looks(queue, broadcast_id)[broadcast_id] < opens
    assert defer_missing(queue) == 0


def test_a_resumed_broadcast_has_a_job_again_and_a_paused_one_has_not(queue: World) -> None:
    broadcast_id = queue.ready([ADA])
    clear(queue)
    workers.pause(queue, broadcast_id)
    assert names(queue) == []
    workers.resume(queue, broadcast_id)
    assert names(queue) == [f"{broadcast_id}/0"]


def test_the_sweep_finds_broadcasts_whose_jobs_were_lost(queue: World) -> None:
    lost, kept = queue.ready([ADA]), queue.ready([ADA])
    queue.tell("DELETE FROM procrastinate_jobs WHERE queueing_lock = :name", name=f"{lost}/0")
    assert defer_missing(queue) == 1
    assert sorted(names(queue)) == sorted([f"{kept}/0", f"{lost}/0"])
    assert defer_missing(queue) == 0


def test_a_job_in_an_hour_is_no_job_for_what_is_due_now(queue: World) -> None:
    broadcast_id = queue.ready([ADA])
    clear(queue)
    defer(queue, Job(broadcast_id, 0, now_ms() + LATER))
    assert defer_missing(queue) == 1


def test_a_job_under_way_is_enough(queue: World) -> None:
    queue.ready([ADA])
    queue.tell("UPDATE procrastinate_jobs SET status = 'doing'")
    assert defer_missing(queue) == 0


def test_those_wait_whose_time_has_come_and_whom_nobody_has_taken(queue: World) -> None:
    with queue.database.reading() as db:
        assert not jobs.are_waiting(db)
        broadcast_id = queue.broadcast(ADA, send_at=now_ms() + LATER)
        assert not jobs.are_waiting(db)
    defer(queue, Job(broadcast_id, 0))
    with queue.database.reading() as db:
        assert jobs.are_waiting(db)


def test_a_job_that_was_begun_too_long_ago_is_overdue(queue: World) -> None:
    queue.broadcast(ADA)
    queue.tell("UPDATE procrastinate_jobs SET status = 'doing'")
    [job] = workers.jobs(queue)
    with queue.database.reading() as db:
        assert jobs.overdue(db, 60.0) == []
        assert jobs.overdue(db, -1.0) == [job.id]


def test_a_database_without_a_queue_or_with_an_old_one_is_named(world: World) -> None:
    with world.database.reading() as db:
        assert "flask engine setup" in (jobs.problem(db) or "")
    engine.set_up(world.database)
    with world.database.reading() as db:
        assert jobs.problem(db) is None
    world.tell("ALTER FUNCTION procrastinate_retry_job_v2 RENAME TO another")
    with world.database.reading() as db:
        assert "migrations" in (jobs.problem(db) or "")


def test_the_more_broadcasts_a_client_has_the_later_its_next_job_is_fetched(queue: World) -> None:
    """So that another client's first one is fetched next, however many wait."""
    for _ in range(3):
        queue.session()
    for session in queue.ask("SELECT id FROM sessions ORDER BY id"):
        queue.broadcast(ADA, session_id=session.id)
    beside = queue.neighbour()
    beside.session()
    first = beside.broadcast(ADA)
    priorities = queue.ask("SELECT queueing_lock, priority FROM procrastinate_jobs ORDER BY id")
    assert [job.priority for job in priorities] == [-1, -2, -3, -4, -1]
    assert priorities[-1].queueing_lock == f"{first}/0"
