"""A broadcast that goes to a sample first: it pauses, and goes on to the others when resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from service import logs
from service.config import Settings
from service.core import broadcasts, recipients, samples
from service.core.entries import Given
from service.database import Database, now_ms
from tests.waiting import LIMIT, until
from tests.workers import pause, resume
from tests.world import World, numbers

PEOPLE = numbers(300)


@pytest.fixture
def world(settings: Settings, database: Database) -> World:
    logs.configure(settings)
    world = World(settings, database)
    world.session()
    return world


@contextmanager
def dispatching(world: World, **changes: Any) -> Iterator[None]:
    dispatcher = world.dispatcher(poll_interval=0.1, sweep_interval=0.1, **changes)
    dispatcher.start()
    yield
    assert dispatcher.stop(LIMIT)


def arrived(world: World) -> list[str]:
    return sorted(message["recipient"] for message in world.received())


def test_a_sample_is_random_and_everybody_keeps_their_variables() -> None:
    to: Given = [{"to": each, "variables": {"name": each[::-1]}} for each in PEOPLE]
    read = recipients.read(to)
    drawn, other = (read.sampled(100, Random(seed)) for seed in (1, 2))  # noqa: S311 - a test
    first, others = drawn.unique[:100], drawn.unique[100:]
    assert sorted(drawn.unique) == PEOPLE
    assert (first, others) == (tuple(sorted(first)), tuple(sorted(others)))
    assert first not in {read.unique[:100], other.unique[:100]}
    assert drawn.variables is not None
    for place, each in enumerate(drawn.unique):
        assert drawn.variables.of(place) == {"name": each[::-1]}


def test_a_broadcast_goes_to_its_sample_pauses_and_goes_on_when_resumed(world: World) -> None:
    broadcast_id = world.broadcast(PEOPLE, sample=70)
    with dispatching(world, fanout_chunk=30):
        world.await_status(broadcast_id, "paused")
        paused = world.get(broadcast_id)
        assert (paused.reason, paused.sent, paused.sample) == (samples.SENT, 70, 70)
        sample = arrived(world)
        assert len(sample) == 70
        assert sample != PEOPLE[:70]
        resume(world, broadcast_id)
        world.await_status(broadcast_id, "completed")
    assert arrived(world) == PEOPLE
    assert world.get(broadcast_id).sample is None
    world.assert_counters_equal_rows([broadcast_id])


def test_entries_that_were_skipped_are_no_part_of_the_sample(world: World) -> None:
    bad = [f"x{number}" for number in range(60)]
    broadcast_id = world.broadcast([*bad, *PEOPLE], sample=50, skips_invalid=True)
    with dispatching(world):
        world.await_status(broadcast_id, "paused")
        assert world.statuses(broadcast_id) == {"failed": 60, "sent": 50}
        resume(world, broadcast_id)
        world.await_status(broadcast_id, "completed")
    assert arrived(world) == PEOPLE


def test_a_pause_within_the_sample_ends_with_the_rest_of_the_sample(world: World) -> None:
    broadcast_id = world.broadcast(PEOPLE, sample=50)
    pause(world, broadcast_id)
    resume(world, broadcast_id)
    with dispatching(world):
        world.await_status(broadcast_id, "paused")
    assert len(arrived(world)) == 50


def test_a_sample_of_everybody_is_the_broadcast(world: World) -> None:
    broadcast_id = world.broadcast(PEOPLE, sample=300)
    with dispatching(world):
        world.await_status(broadcast_id, "completed")
    assert arrived(world) == PEOPLE


def test_a_broadcast_that_ends_after_its_sample_accounts_for_everybody(world: World) -> None:
    deleted, expired = (world.broadcast(PEOPLE, sample=50) for _ in range(2))
    with dispatching(world):
        for broadcast_id in (deleted, expired):
            world.await_status(broadcast_id, "paused")
        with world.database.writing() as db:
            broadcasts.delete(db, world.client_id, deleted, now=now_ms())
        world.tell("UPDATE broadcasts SET expires_at = 1 WHERE id = :id", id=expired)
        until(lambda: world.get(deleted).closed_at and world.get(expired).closed_at)
    assert world.statuses(deleted) == {"sent": 50, "cancelled": 250}
    assert world.statuses(expired) == {"sent": 50, "failed": 250}
