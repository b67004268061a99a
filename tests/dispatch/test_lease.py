"""The right to send, and the eye on the others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from service.core import dispatchers
from service.core.dispatchers import LostClaimError
from service.database import now_ms
from service.dispatch.lease import Lease
from tests.world import World

SECONDS = 30.0
INTERVAL = SECONDS / 6


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self, _clock: int) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "clock_gettime", clock)
    return clock


@pytest.fixture
def join(world: World, clock: Clock) -> Callable[[], Lease]:
    """Return what enters another dispatcher; only the test makes it beat."""
    del clock

    def enter() -> Lease:
        lease = Lease(world.database, SECONDS)
        lease.join()
        return lease

    return enter


def living(world: World) -> set[str]:
    return {row.id for row in world.ask("SELECT id FROM dispatchers")}


def test_a_process_that_has_entered_may_send(join: Callable[[], Lease]) -> None:
    lease = join()
    assert lease.is_good()
    assert lease.holds(lease.id)


def test_a_lease_that_was_not_entered_is_good_for_nothing(world: World) -> None:
    assert not Lease(world.database, SECONDS).is_good()


def test_a_process_that_does_not_beat_may_soon_send_no_more(
    join: Callable[[], Lease], clock: Clock
) -> None:
    lease = join()
    clock.now += 0.74 * SECONDS
    assert lease.is_good()
    clock.now += 0.02 * SECONDS
    assert not lease.is_good()
    assert not lease.holds(lease.id)


def test_a_beat_makes_the_lease_good_again(join: Callable[[], Lease], clock: Clock) -> None:
    lease = join()
    clock.now += 0.8 * SECONDS
    assert lease.turn() == INTERVAL
    assert lease.is_good()


def test_a_process_that_leaves_is_gone_at_once(world: World, join: Callable[[], Lease]) -> None:
    lease, other = join(), join()
    lease.leave()
    assert not lease.is_good()
    assert living(world) == {other.id}


def test_one_that_beats_is_never_given_up(
    world: World, join: Callable[[], Lease], clock: Clock
) -> None:
    watching, beating = join(), join()
    for _ in range(30):
        clock.now += INTERVAL
        beating.turn()
        watching.turn()
    assert living(world) == {watching.id, beating.id}


def test_one_that_stands_still_through_a_lease_is_given_up(
    world: World, join: Callable[[], Lease], clock: Clock
) -> None:
    watching, frozen = join(), join()
    told: list[bool] = []
    watching.on_dead = lambda: told.append(True)
    for _ in range(6):
        clock.now += INTERVAL
        watching.turn()
    assert living(world) == {watching.id, frozen.id}
    assert not told
    clock.now += INTERVAL
    watching.turn()
    assert living(world) == {watching.id}
    assert told == [True]


def test_a_beat_begins_the_count_anew(
    world: World, join: Callable[[], Lease], clock: Clock
) -> None:
    watching, slow = join(), join()
    for turn in range(20):
        clock.now += INTERVAL
        watching.turn()
        if turn % 5 == 4:
            slow.turn()
    assert living(world) == {watching.id, slow.id}


def test_looks_in_quick_succession_do_not_make_a_lease(
    world: World, join: Callable[[], Lease], clock: Clock
) -> None:
    """A loop that is woken, or whose turns fail half-way, looks more often than it should."""
    watching, other = join(), join()
    for _ in range(50):
        clock.now += 0.1
        watching.turn()
    assert living(world) == {watching.id, other.id}


def test_a_long_pause_of_the_watcher_is_not_held_against_the_others(
    world: World, join: Callable[[], Lease], clock: Clock
) -> None:
    watching, other = join(), join()
    watching.turn()
    clock.now += 100 * SECONDS
    watching.turn()
    assert living(world) == {watching.id, other.id}


def test_a_frozen_process_goes_on_under_a_new_id_and_without_its_claims(
    world: World, join: Callable[[], Lease], clock: Clock
) -> None:
    watching, frozen = join(), join()
    lost = frozen.id
    for _ in range(7):
        clock.now += INTERVAL
        watching.turn()
    assert not frozen.is_good()
    frozen.turn()
    assert frozen.id != lost
    assert frozen.is_good()
    assert frozen.holds(frozen.id)
    assert not frozen.holds(lost)
    assert living(world) == {watching.id, frozen.id}


def test_the_claims_of_one_that_was_given_up_are_refused(
    world: World, join: Callable[[], Lease]
) -> None:
    lease = join()
    with world.database.writing() as db:
        dispatchers.remove(db, [lease.id])
    with pytest.raises(LostClaimError), world.database.writing() as db:
        dispatchers.hold(db, lease.id)


def test_a_dead_process_of_the_same_machine_is_noticed_at_once(
    world: World, join: Callable[[], Lease]
) -> None:
    watching = join()
    dead = enter(world, pid=pid_of_a_dead_process())
    watching.turn()
    assert dead not in living(world)


def test_a_living_process_of_the_same_machine_is_left_alone(
    world: World, join: Callable[[], Lease]
) -> None:
    watching = join()
    others = {enter(world, pid=os.getpid()), enter(world, pid=1)}
    watching.turn()
    assert living(world) == {watching.id, *others}


def test_process_ids_of_another_machine_mean_nothing_here(
    world: World, join: Callable[[], Lease]
) -> None:
    watching = join()
    other = enter(world, pid=pid_of_a_dead_process(), home="another-boot/4026531836")
    watching.turn()
    assert other in living(world)


def enter(world: World, *, pid: int, home: str | None = None) -> str:
    with world.database.writing() as db:
        dispatcher_id = dispatchers.register(db, now=now_ms())
    world.tell(
        "UPDATE dispatchers SET pid = :pid, home = :home WHERE id = :id",
        id=dispatcher_id,
        pid=pid,
        home=home or dispatchers.host(),
    )
    return dispatcher_id


def pid_of_a_dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
