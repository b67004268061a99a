"""Holding back what cannot be sent now."""

from __future__ import annotations

import pytest

from service.core import holding
from service.database import now_ms
from tests.world import ADA, World

HOUR = 3_600_000


def hold(world: World, session_id: str, reason: str, until: int | None) -> None:
    with world.database.writing() as db:
        holding.hold_session(db, session_id, reason, until=until, now=now_ms())


def release(world: World, session_id: str) -> None:
    with world.database.writing() as db:
        holding.release_session(db, session_id, now=now_ms())


def state(world: World, session_id: str) -> tuple[str, str | None, int | None]:
    session = world.get_session(session_id)
    return session.status, session.reason, session.throttled_until


def test_a_session_is_held_until_a_moment_or_until_it_is_mended(world: World) -> None:
    throttled, blocked, free = (world.session() for _ in range(3))
    until = now_ms() + HOUR
    hold(world, throttled, "Slow down.", until)
    hold(world, blocked, "Logged out.", None)
    assert state(world, throttled) == ("throttled", "Slow down.", until)
    assert state(world, blocked) == ("blocked", "Logged out.", None)
    assert state(world, free) == ("ready", None, None)


def test_a_hold_is_no_change_that_its_owner_could_collide_with(world: World) -> None:
    session_id = world.session()
    version = world.get_session(session_id).version
    hold(world, session_id, "Logged out.", None)
    assert world.get_session(session_id).version == version


def test_the_longest_of_several_holds_counts(world: World) -> None:
    session_id = world.session()
    now = now_ms()
    hold(world, session_id, "Long.", now + 2 * HOUR)
    hold(world, session_id, "Short.", now + HOUR)
    assert state(world, session_id) == ("throttled", "Long.", now + 2 * HOUR)
    hold(world, session_id, "Logged out.", None)
    hold(world, session_id, "Short.", now + HOUR)
    assert state(world, session_id) == ("blocked", "Logged out.", None)


def test_a_mended_session_is_ready(world: World) -> None:
    session_id = world.session()
    hold(world, session_id, "Logged out.", None)
    release(world, session_id)
    assert state(world, session_id) == ("ready", None, None)


@pytest.mark.parametrize("blocked_first", [False, True])
def test_a_hold_until_a_moment_outlasts_a_block(world: World, *, blocked_first: bool) -> None:
    session_id, until = world.session(), now_ms() + HOUR
    holds = [("Restricted.", until), ("Logged out.", None), ("Short.", until - 1)]
    for reason, end in [holds[1], holds[0], holds[2]] if blocked_first else holds:
        hold(world, session_id, reason, end)
    assert state(world, session_id) == ("blocked", "Logged out.", None)
    release(world, session_id)
    assert state(world, session_id) == ("throttled", "Restricted.", until)


def test_a_hold_that_was_lifted_does_not_come_back(world: World) -> None:
    session_id = world.session()
    hold(world, session_id, "Restricted.", now_ms() + HOUR)
    world.tell("UPDATE sessions SET held_until = 0")
    hold(world, session_id, "Logged out.", None)
    release(world, session_id)
    assert state(world, session_id) == ("ready", None, None)


def test_whose_wait_is_over_is_ready(world: World) -> None:
    session_id = world.session()
    hold(world, session_id, "Slow down.", now_ms() - 1)
    assert state(world, session_id) == ("ready", None, None)


def test_a_wait_of_ages_is_still_a_wait(world: World) -> None:
    session_id = world.session()
    hold(world, session_id, "Slow down.", 2**62)
    assert state(world, session_id)[0] == "throttled"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sending", "paused"),
        ("scheduled", "scheduled"),
        ("paused", "paused"),
        ("cancelled", "cancelled"),
        ("completed", "completed"),
    ],
)
def test_only_a_broadcast_that_is_sending_is_paused(world: World, before: str, after: str) -> None:
    world.session()
    broadcast_id, other = world.broadcast([ADA]), world.broadcast([ADA])
    world.tell(
        "UPDATE broadcasts SET status = :status WHERE id = :id", status=before, id=broadcast_id
    )
    with world.database.writing() as db:
        holding.hold_broadcast(db, broadcast_id, "Bad template.", now=now_ms())
    broadcast = world.get(broadcast_id)
    changed = before == "sending"
    assert broadcast.status == after
    assert (broadcast.reason, broadcast.version) == (("Bad template.", 1) if changed else (None, 0))
    assert world.get(other).status == "sending"
