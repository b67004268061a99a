"""The turn that puts right what nobody else will."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from service.channels.base import Account
from service.core import broadcasts
from service.database import now_ms
from service.dispatch.sending import ledger
from service.dispatch.sending.ledger import Ledger
from service.dispatch.upkeep.sweep import Sweep
from service.models import OnUncertain
from tests.probe import Stage
from tests.world import ADA, GRACE, World, numbers

HOUR = 3_600_000


class Sweeping:
    """A sweep that is made to turn by hand, and how often it called for the claimer."""

    def __init__(self, world: World) -> None:
        self.calls = 0
        self._sweep = Sweep(world.settings, world.database, world.accounts, self._called)

    def __call__(self) -> float:
        return self._sweep.turn()

    def _called(self) -> None:
        self.calls += 1


@pytest.fixture
def sweep(world: World) -> Sweeping:
    return Sweeping(world)


def test_a_scheduled_broadcast_starts_when_its_time_has_come(world: World, sweep: Sweeping) -> None:
    world.session()
    now = now_ms()
    due = world.broadcast(ADA, now=now - HOUR, send_at=now - 1)
    early = world.broadcast(ADA, send_at=now + HOUR)
    assert world.get(due).status == world.get(early).status == "scheduled"
    before = world.get(due).version
    sweep()
    assert world.get(due).status == "sending"
    assert world.get(due).version == before + 1
    assert world.get(early).status == "scheduled"
    assert sweep.calls == 1


def test_claims_of_the_living_are_left_alone(world: World, sweep: Sweeping) -> None:
    world.session()
    broadcast_id = world.ready(numbers(3))
    world.claim(broadcast_id)
    sweep()
    assert world.statuses(broadcast_id) == {"sending": 3}


@pytest.mark.parametrize(
    ("harmless", "on_uncertain", "expected"),
    [
        (True, OnUncertain.HOLD, {"queued": 3}),
        (False, OnUncertain.RESEND, {"queued": 3}),
        (False, OnUncertain.HOLD, {"uncertain": 3}),
    ],
)
def test_what_a_dead_process_was_sending_is_sent_again_only_where_that_is_harmless_or_chosen(
    world: World,
    stage: Stage,
    harmless: bool,  # noqa: FBT001 - pytest passes it by name
    on_uncertain: OnUncertain,
    expected: dict[str, int],
) -> None:
    sweep = Sweeping(world)
    stage.may_repeat = lambda _part: harmless
    world.session("probe", on_uncertain=on_uncertain)
    broadcast_id = world.ready(numbers(3))
    dead = world.claim(broadcast_id)
    bury(world, dead.id)
    sweep()
    assert world.statuses(broadcast_id) == expected
    assert {row.claim_id for row in world.deliveries(broadcast_id)} == {None}
    world.assert_counters_equal_rows([broadcast_id])
    assert sweep.calls == 1


class Dead(NamedTuple):
    """A dispatcher that was killed: what it had claimed, and its ledger."""

    broadcast_id: str
    claimed: list[str]
    ledger: Path


def killed(world: World, under_way: int, *, taken: str = "") -> Dead:
    """Return a dispatcher of this machine that died with so many of five deliveries under way."""
    broadcast_id = world.ready(numbers(5), "two words")
    world.tell("UPDATE deliveries SET attempts = 2, message_ids = :ids", ids=taken or None)
    claims = world.claim(broadcast_id)
    own = Ledger(world.settings.ledgers_dir, 100)
    own.open(claims.id)
    for claimed in claims.deliveries[:under_way]:
        assert own.mark((claimed.id, claimed.claimed_at))
    bury(world, claims.id)
    ids = [claimed.id for claimed in claims.deliveries]
    return Dead(broadcast_id, ids, world.settings.ledgers_dir / claims.id)


def rows(world: World, dead: Dead) -> list[tuple[str, int, str | None]]:
    """Return status, attempts and message ids of each delivery, in the order of `to`."""
    found = {row.id: row for row in world.deliveries(dead.broadcast_id)}
    return [
        (found[each].status, found[each].attempts, found[each].message_ids) for each in dead.claimed
    ]


@pytest.mark.parametrize("under_way", [0, 2, 5])
def test_of_what_a_dead_process_had_claimed_only_what_was_under_way_is_uncertain(
    world: World, stage: Stage, sweep: Sweeping, under_way: int
) -> None:
    del stage
    world.session("probe")
    dead = killed(world, under_way, taken="id-0")
    sweep()
    assert rows(world, dead) == [
        *[("uncertain", 3, "id-0")] * under_way,
        *[("queued", 2, "id-0")] * (5 - under_way),
    ]
    assert {row.claim_id for row in world.deliveries(dead.broadcast_id)} == {None}
    world.assert_counters_equal_rows([dead.broadcast_id])
    assert sweep.calls == 1


def test_what_was_under_way_is_sent_again_in_its_place_where_that_is_harmless(
    world: World, stage: Stage, sweep: Sweeping
) -> None:
    stage.may_repeat = lambda _part: True
    world.session("probe")
    dead = killed(world, 2, taken="id-0")
    sweep()
    assert rows(world, dead) == [*[("queued", 2, "id-0 !")] * 2, *[("queued", 2, "id-0")] * 3]


def test_what_was_not_under_way_can_be_claimed_at_once(
    world: World, stage: Stage, sweep: Sweeping
) -> None:
    del stage
    world.session("probe")
    dead = killed(world, 2)
    sweep()
    assert [each.id for each in world.claim(dead.broadcast_id).deliveries] == dead.claimed[2:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"-" * 32, b"\0" * 32, 1)),
        lambda path: path.write_bytes(b"another machine" + path.read_bytes()[15:]),
    ],
    ids=["deleted", "torn", "garbled", "of another boot"],
)
def test_without_a_ledger_that_can_be_read_all_that_was_claimed_may_have_arrived(
    world: World, stage: Stage, sweep: Sweeping, damage: Callable[[Path], None]
) -> None:
    del stage
    world.session("probe")
    dead = killed(world, 2)
    damage(dead.ledger)
    sweep()
    assert rows(world, dead) == [("uncertain", 3, None)] * 5


def test_a_ledger_is_removed_when_nothing_is_left_to_take_over(
    world: World, stage: Stage, sweep: Sweeping
) -> None:
    del stage
    world.session("probe")
    living = Ledger(world.settings.ledgers_dir, 10)
    living.open(entered := world.enter())
    dead = killed(world, 2)
    assert dead.ledger.exists()
    sweep()
    assert ledger.kept(world.settings.ledgers_dir) == [entered]
    living.close()


def test_a_ledger_stays_while_claims_are_left_to_the_next_turn(
    world: World, stage: Stage, sweep: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    del stage
    monkeypatch.setattr("service.dispatch.upkeep.sweep._RESCUE_TIME", 0.0)
    world.session("probe")
    first, second = killed(world, 2), killed(world, 2)
    sweep()
    assert sorted(each.ledger.exists() for each in (first, second)) == [False, True]
    sweep()
    assert [world.statuses(each.broadcast_id) for each in (first, second)] == [
        {"uncertain": 2, "queued": 3}
    ] * 2
    assert ledger.kept(world.settings.ledgers_dir) == []


def test_whoever_is_uncertain_is_told_why_and_what_can_be_done(
    world: World, stage: Stage, sweep: Sweeping
) -> None:
    del stage
    world.session("probe")
    broadcast_id = world.ready([ADA])
    bury(world, world.claim(broadcast_id).id)
    sweep()
    (row,) = world.deliveries(broadcast_id)
    assert (row.code, row.attempts) == ("process_died", 1)
    assert "/retry" in (row.reason or "")
    assert world.get(broadcast_id).status == "completed"


def test_a_session_that_cannot_be_opened_stops_nobody_elses_rescue(
    world: World, stage: Stage, sweep: Sweeping
) -> None:
    stage.may_repeat = lambda _part: True
    broken, healthy = world.session("probe"), world.session("probe")
    ids = [world.ready(numbers(2), session_id=each) for each in (broken, healthy, broken)]
    for broadcast_id in ids:
        bury(world, world.claim(broadcast_id).id)
    expired = world.ready(numbers(2), now=now_ms() - 2 * HOUR, expires_at=now_ms() - HOUR)
    stage.open = failing_for(broken)
    sweep()
    sweep()
    assert [world.statuses(each) for each in ids] == [
        {"uncertain": 2},
        {"queued": 2},
        {"uncertain": 2},
    ]
    assert world.statuses(expired) == {"failed": 2}


def test_what_a_deleted_broadcast_had_left_is_cancelled(world: World, sweep: Sweeping) -> None:
    world.session()
    broadcast_id = world.ready(numbers(5))
    world.claim(broadcast_id, 2)
    with world.database.writing() as db:
        broadcasts.delete(db, world.client_id, broadcast_id, now=now_ms())
    sweep()
    assert world.statuses(broadcast_id) == {"sending": 2, "cancelled": 3}
    assert {row.code for row in world.deliveries(broadcast_id)} == {None, "cancelled"}
    assert world.get(broadcast_id).closed_at is None
    world.assert_counters_equal_rows([broadcast_id])


def test_what_has_expired_fails_and_says_so(world: World, sweep: Sweeping) -> None:
    world.session()
    now = now_ms()
    broadcast_id = world.ready([ADA, GRACE], now=now - 2 * HOUR, expires_at=now - HOUR)
    sweep()
    assert world.statuses(broadcast_id) == {"failed": 2}
    assert {row.code for row in world.deliveries(broadcast_id)} == {"expired"}
    assert world.get(broadcast_id).status == "completed"


@pytest.mark.parametrize("status", ["paused", "scheduled"])
def test_expiry_does_not_wait_for_a_pause_or_a_schedule_to_end(
    world: World, sweep: Sweeping, status: str
) -> None:
    world.session()
    now = now_ms()
    broadcast_id = world.ready([ADA], now=now - 2 * HOUR, expires_at=now - HOUR)
    world.tell("UPDATE broadcasts SET status = :status, send_at = NULL", status=status)
    sweep()
    assert world.statuses(broadcast_id) == {"failed": 1}


def test_a_large_broadcast_is_wound_up_in_several_turns(world: World, sweep: Sweeping) -> None:
    world.session()
    broadcast_id = world.ready(numbers(6_000))
    with world.database.writing() as db:
        broadcasts.delete(db, world.client_id, broadcast_id, now=now_ms())
    assert sweep() == 0.0
    assert world.statuses(broadcast_id) == {"cancelled": 5_000, "queued": 1_000}
    assert sweep() == world.settings.sweep_interval
    assert world.statuses(broadcast_id) == {"cancelled": 6_000}
    assert world.get(broadcast_id).closed_at is not None


def test_counters_that_do_not_equal_the_rows_are_put_right(world: World, sweep: Sweeping) -> None:
    world.session()
    broadcast_id = world.ready([ADA, GRACE])
    world.tell("UPDATE deliveries SET status = 'sent'")
    sweep()
    assert world.get(broadcast_id).status == "completed"
    world.assert_counters_equal_rows([broadcast_id])


def test_a_broadcast_that_is_on_its_way_is_not_recounted(world: World, sweep: Sweeping) -> None:
    world.session()
    fresh, started = world.broadcast([ADA]), world.ready([ADA, GRACE])
    world.claim(started, 1)
    before = [world.get(each).version for each in (fresh, started)]
    sweep()
    assert [world.get(each).version for each in (fresh, started)] == before


def test_two_sweeps_do_no_more_than_one(world: World, stage: Stage) -> None:
    stage.may_repeat = lambda _part: True
    world.session("probe")
    broadcast_id = world.ready(numbers(4))
    bury(world, world.claim(broadcast_id, 2).id)
    first, second = Sweeping(world), Sweeping(world)
    first()
    claims = world.claim(broadcast_id, 3)
    second()
    assert world.statuses(broadcast_id) == {"sending": 3, "queued": 1}
    assert len(claims.deliveries) == 3


def bury(world: World, dispatcher_id: str) -> None:
    world.tell("DELETE FROM dispatchers WHERE id = :id", id=dispatcher_id)


def failing_for(session_id: str) -> Callable[[Account], None]:
    """Return a way of opening that fails for one session."""

    def fail(account: Account) -> None:
        if account.session_id == session_id:
            raise ValueError("its key is gone")

    return fail
