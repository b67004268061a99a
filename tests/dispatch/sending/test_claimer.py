"""The turn in which due deliveries become this process's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import pairwise

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session as Db

from service.channels.base import Account
from service.channels.content import Content, Part
from service.core import broadcasts, dispatchers, holding, sessions
from service.core.decisions import Hold
from service.core.deliveries.transitions import Outcome
from service.database import Database, now_ms
from service.dispatch.lease import Lease
from service.dispatch.sending import pacing
from service.dispatch.sending.claimer import Claimer
from service.dispatch.sending.holds import LocalHolds
from service.dispatch.sending.lanes import Work
from service.dispatch.sending.ledger import Ledger
from service.dispatch.sending.prepared import PreparedBroadcast, PreparedBroadcasts
from service.dispatch.sending.queue import ClaimedQueue
from service.dispatch.sending.recorder import Recorder, Result
from service.dispatch.sending.revocations import RevokedClaims
from service.dispatch.sending.sender import SendingContext
from service.dispatch.sending.streaks import Streaks
from service.models import FOREVER
from tests.probe import Stage
from tests.statements import Statement, noted
from tests.world import ADA, World, numbers

HOUR = 3_600_000


class Shelf(ClaimedQueue):
    """A queue that has always the same room and hands nothing out."""

    def __init__(self, room: int) -> None:
        super().__init__(10_000, 10_000)
        self.works: list[Work] = []
        self.free = room

    def rooms(self, client_ids: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(client_ids, self.free)

    def wanted(self, broadcast: PreparedBroadcast) -> int:
        return min(self.free, broadcast.concurrency or self.free)

    def add(self, works: list[Work]) -> None:
        self.works += works


class Returned(Recorder):
    """A recorder that keeps what is given back."""

    def __init__(self, world: World) -> None:
        super().__init__(world.settings, world.database)
        self.outcomes: list[Outcome] = []

    def put(self, results: Iterable[Result]) -> None:
        self.outcomes.extend(decision.outcome for _, decision in results)


class Claiming:
    """A claimer that is made to turn by hand."""

    def __init__(
        self,
        world: World,
        room: int = 100,
        database: Database | None = None,
        queue: ClaimedQueue | None = None,
    ) -> None:
        self.lost = 0
        self.shelf = Shelf(room)
        self.holds = LocalHolds()
        self.lease = Lease(world.database, 3_600.0)
        self.lease.join()
        self.recorder = Returned(world)
        self.broadcasts = PreparedBroadcasts(world.settings, world.database, world.accounts)
        context = SendingContext(
            world.accounts.channels.context,
            self.shelf if queue is None else queue,
            self.recorder,
            self.lease,
            self.holds,
            Ledger(world.settings.ledgers_dir, 10),
            Streaks(),
            RevokedClaims(),
        )
        self.claimer = Claimer(
            world.settings, database or world.database, context, self.broadcasts, self._lost
        )
        self._poll_interval = world.settings.poll_interval

    def turn(self) -> dict[str, int]:
        """Take a turn; return how many deliveries of each broadcast it claimed."""
        before = len(self.shelf.works)
        wait = self.claimer.turn()
        claimed = self.shelf.works[before:]
        assert wait == (0.0 if claimed else self._poll_interval)
        return dict(Counter(work.delivery.broadcast_id for work in claimed))

    def _lost(self) -> None:
        self.lost += 1


class Forgetful(Database):
    """A database whose answer to one commit is lost."""

    loses_answer = False

    @contextmanager
    def writing(self) -> Iterator[Db]:
        with super().writing() as db:
            yield db
        if self.loses_answer:
            self.loses_answer = False
            raise OperationalError("COMMIT", None, OSError("the connection was reset"))


def test_what_is_claimed_is_marked_and_handed_on(world: World) -> None:
    world.session()
    broadcast_id = world.ready(numbers(5))
    claiming = Claiming(world)
    assert claiming.turn() == {broadcast_id: 5}
    rows = world.deliveries(broadcast_id)
    assert {(row.status, row.claim_id) for row in rows} == {("sending", claiming.lease.id)}
    assert {work.claim_id for work in claiming.shelf.works} == {claiming.lease.id}
    assert {work.broadcast.broadcast_id for work in claiming.shelf.works} == {broadcast_id}
    assert claiming.turn() == {}


def test_no_more_is_claimed_than_there_is_room_for(world: World) -> None:
    world.session()
    broadcast_id = world.ready(numbers(20))
    claiming = Claiming(world, room=7)
    assert claiming.turn() == {broadcast_id: 7}
    claiming.shelf.free = 0
    assert claiming.turn() == {}


def test_no_more_than_two_batches_lie_claimed(world: World) -> None:
    """Those that wait for their slots count as well."""
    for rate in (None, 1_000.0):
        world.ready(numbers(50), session_id=world.session(rate=rate))
    claiming = Claiming(world, queue=(queue := ClaimedQueue(64, 10)))
    queue.note_claim(60.0)
    for _ in range(10):
        claiming.claimer.turn()
        claiming.claimer.look_again()
        assert len(queue) <= 20
    assert len(queue) == 20
    claimed = world.ask("SELECT count(*) FROM deliveries WHERE status = 'sending'")
    assert claimed[0][0] == 20


def test_no_more_is_claimed_of_a_session_than_it_wants(world: World) -> None:
    slow, quick = world.session(concurrency=3), world.session()
    of_slow = [world.ready(numbers(20), session_id=slow) for _ in range(2)]
    of_quick = world.ready(numbers(50), session_id=quick)
    claimed = Claiming(world, room=40).turn()
    assert sum(claimed.get(each, 0) for each in of_slow) == 3
    assert claimed[of_quick] == 37


def test_broadcasts_share_the_room_evenly(world: World) -> None:
    world.session()
    large, little, tiny = (world.ready(numbers(count)) for count in (500, 40, 2))
    assert Claiming(world, room=90).turn() == {large: 30, little: 30, tiny: 2}


def test_a_small_broadcast_is_not_kept_waiting_by_many_large_ones(world: World) -> None:
    world.session()
    large = [world.ready(numbers(20)) for _ in range(39)]
    small = world.ready([ADA])
    claiming = Claiming(world, room=32)
    claimed = [claiming.turn(), claiming.turn()]
    assert small in claimed[1]
    assert claimed[0].keys() | claimed[1].keys() == {*large, small}
    assert max(Counter(claimed[0]).values()) == 1


def test_another_clients_broadcast_takes_part_in_the_first_claim_beside_any_number(
    world: World,
) -> None:
    for _ in range(4):
        session_id = world.session()
        for _ in range(20):
            world.ready(numbers(3), session_id=session_id)
    beside = world.neighbour()
    beside.session()
    small, large = beside.ready([ADA]), beside.ready(numbers(50))
    claimed = Claiming(world, room=60).turn()
    assert claimed[small] == 1
    assert claimed[large] >= 20
    assert 20 <= sum(claimed.values()) - claimed[small] - claimed[large] <= 60


def test_every_broadcast_of_every_client_has_its_turn(world: World) -> None:
    worlds = [world, *(world.neighbour() for _ in range(3))]
    made = set()
    for each in worlds:
        for session_id in [each.session() for _ in range(3)]:
            made |= {each.ready(numbers(3), session_id=session_id) for _ in range(8)}
    claiming, claimed = Claiming(world, room=30), Counter[str]()
    while turn := claiming.turn():
        claimed.update(turn)
    assert claimed == dict.fromkeys(made, 3)


def test_of_a_client_whose_queue_is_full_nothing_is_claimed_and_of_others_is(world: World) -> None:
    for _ in range(30):
        world.ready(numbers(3), session_id=world.session())
    beside = world.neighbour()
    beside.session()
    claiming = Claiming(world, queue=(queue := ClaimedQueue(64, 10)))
    for _ in range(6):
        claiming.claimer.turn()
    assert len(queue) == 20
    small = beside.ready([ADA])
    claiming.claimer.look_again()
    claiming.claimer.turn()
    assert small in queue.broadcast_ids()
    assert len(queue) == 21


def test_only_what_may_be_sent_now_is_claimed(world: World) -> None:
    world.session()
    now = now_ms()
    paused, cancelled, held, later, due = (world.ready([ADA]) for _ in range(5))
    scheduled = world.ready([ADA], send_at=now + HOUR)
    expired = world.ready([ADA], now=now - 2 * HOUR, expires_at=now - HOUR)
    with world.database.writing() as db:
        broadcasts.pause(db, world.client_id, paused, now=now)
        broadcasts.delete(db, world.client_id, cancelled, now=now)
    blocked = world.session()
    world.tell("UPDATE sessions SET held_until = :end WHERE id = :id", end=FOREVER, id=blocked)
    world.tell("UPDATE broadcasts SET session_id = :id WHERE id = :held", id=blocked, held=held)
    world.tell(
        "UPDATE deliveries SET due_at = :then WHERE broadcast_id = :id", then=now + HOUR, id=later
    )
    assert Claiming(world).turn() == {due: 1}
    assert world.statuses(scheduled) == world.statuses(expired) == {"queued": 1}


def test_a_throttled_session_sends_again_after_its_wait(world: World) -> None:
    session_id = world.session()
    broadcast_id = world.ready([ADA])
    hold = "UPDATE sessions SET held_until = :until WHERE id = :id"
    world.tell(hold, id=session_id, until=now_ms() + HOUR)
    assert Claiming(world).turn() == {}
    world.tell(hold, id=session_id, until=now_ms() - 1)
    assert Claiming(world).turn() == {broadcast_id: 1}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE broadcasts SET status = 'paused'",
        "UPDATE broadcasts SET expires_at = 1",
        "UPDATE sessions SET held_until = 99999999999999",
    ],
)
def test_of_what_may_not_go_any_more_nothing_is_claimed_right_after_a_full_claim(
    world: World, change: str
) -> None:
    world.session()
    broadcast_id = world.ready(numbers(30))
    claiming = Claiming(world, room=10)
    assert claiming.turn() == {broadcast_id: 10}
    world.tell(change)
    assert claiming.turn() == {}


def test_right_after_a_full_claim_the_same_broadcasts_are_claimed_of_without_a_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.session()
    broadcast_ids = [world.ready(numbers(10)) for _ in range(2)]
    claiming = Claiming(world, room=6)
    # The machine may have other things to do.
    monkeypatch.setattr("service.dispatch.sending.claimer._FRESH", 3600.0)
    with looks(world.database) as seen:
        assert claiming.turn() == dict.fromkeys(broadcast_ids, 3)
        assert claiming.turn() == dict.fromkeys(broadcast_ids, 3)
        assert len(seen) == 1
        while claiming.turn():
            pass
    assert len(claiming.shelf.works) == 20
    assert len(seen) > 1


def looks(database: Database) -> AbstractContextManager[list[Statement]]:
    """Give the statements that look for active broadcasts."""
    return noted(database, "b.parts")


def test_what_this_process_knows_to_be_held_is_not_claimed(world: World) -> None:
    world.session()
    held, free = world.ready([ADA]), world.ready([ADA])
    claiming = Claiming(world)
    claiming.holds.add(Hold("Refused.", broadcast_id=held))
    assert claiming.turn() == {free: 1}


def pause(world: World, broadcast_id: str) -> None:
    with world.database.writing() as db:
        broadcasts.pause(db, world.client_id, broadcast_id, now=now_ms())


def cancel(world: World, broadcast_id: str) -> None:
    with world.database.writing() as db:
        broadcasts.delete(db, world.client_id, broadcast_id, now=now_ms())


def hold(world: World, broadcast_id: str) -> None:
    session_id = str(world.get(broadcast_id).session_id)
    with world.database.writing() as db:
        holding.hold_session(db, session_id, "Logged out.", until=None, now=now_ms())


@pytest.mark.parametrize("end", [pause, cancel, hold])
@pytest.mark.parametrize("rate", [None, 5.0])
def test_what_lies_claimed_and_may_not_go_any_more_is_given_back(
    world: World, end: Callable[[World, str], None], rate: float | None
) -> None:
    world = world.with_settings(poll_interval=1e-6)
    stopped, going = (world.ready([ADA], session_id=world.session(rate=rate)) for _ in range(2))
    claiming = Claiming(world, queue=(queue := ClaimedQueue(64, 100)))
    claiming.claimer.turn()
    assert queue.broadcast_ids() == {stopped, going}
    end(world, stopped)
    claiming.claimer.turn()
    assert queue.broadcast_ids() == {going}
    (outcome,) = claiming.recorder.outcomes
    assert (outcome.id, outcome.status, outcome.tried) == (
        world.deliveries(stopped)[0].id,
        "queued",
        0,
    )


def test_what_lies_claimed_is_looked_at_no_more_often_than_the_poll_interval(
    world: World,
) -> None:
    world = world.with_settings(poll_interval=3600.0)
    world.session()
    broadcast_id = world.ready([ADA])
    claiming = Claiming(world, queue=(queue := ClaimedQueue(64, 100)))
    claiming.claimer.turn()
    pause(world, broadcast_id)
    claiming.claimer.turn()
    assert len(queue) == 1


def test_a_stopping_process_claims_nothing(world: World) -> None:
    world.session()
    world.ready([ADA])
    claiming = Claiming(world)
    claiming.claimer.draining = True
    assert claiming.turn() == {}


def test_a_process_whose_lease_is_over_claims_nothing(world: World) -> None:
    world.session()
    world.ready([ADA])
    claiming = Claiming(world)
    claiming.lease.leave()
    assert claiming.turn() == {}
    assert claiming.lost == 0


def test_a_process_that_was_given_up_claims_nothing_and_learns_of_it(world: World) -> None:
    world.session()
    broadcast_id = world.ready([ADA])
    claiming = Claiming(world)
    with world.database.writing() as db:
        dispatchers.remove(db, [claiming.lease.id])
    assert claiming.turn() == {}
    assert claiming.lost == 1
    assert world.statuses(broadcast_id) == {"queued": 1}


def test_a_session_that_cannot_be_opened_is_held_and_no_other(world: World, stage: Stage) -> None:
    broken, healthy = world.session("probe"), world.session("probe")
    waiting = world.ready(numbers(3), session_id=broken)
    going = world.ready(numbers(3), session_id=healthy)
    stage.open = failing_for(broken)
    claiming = Claiming(world)
    assert claiming.turn() == {going: 3}
    session = world.get_session(broken)
    assert session.status == "blocked"
    assert "its key is gone" in (session.reason or "")
    assert world.statuses(waiting) == {"queued": 3}
    assert world.get_session(healthy).status == "ready"
    assert claiming.turn() == {}


def test_a_message_that_cannot_be_prepared_is_paused_and_no_other(
    world: World, stage: Stage
) -> None:
    session_id = world.session("probe")
    poison, good = world.ready([ADA], "poison"), world.ready([ADA], "good")
    words = stage.plan

    def plan(content: Content) -> tuple[Part, ...]:
        if content.text == "poison":
            raise ValueError("this cannot be rendered")
        return words(content)

    stage.plan = plan
    claiming = Claiming(world)
    assert claiming.turn() == {good: 1}
    assert world.get(poison).status == "paused"
    assert "this cannot be rendered" in (world.get(poison).reason or "")
    assert world.get_session(session_id).status == "ready"


def test_a_database_out_of_reach_is_not_held_against_a_session(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = world.session()
    broadcast_id = world.ready([ADA])
    claiming = Claiming(world)
    away = OperationalError("SELECT 1", None, OSError("gone"))
    with monkeypatch.context() as patched:
        patched.setattr(claiming.broadcasts, "get", raising(away))
        with pytest.raises(OperationalError):
            claiming.turn()
    assert world.get_session(session_id).status == "ready"
    assert world.get(broadcast_id).status == "sending"
    assert claiming.turn() == {broadcast_id: 1}


def test_a_claim_whose_answer_was_lost_is_put_back(world: World) -> None:
    world.session()
    broadcast_id = world.ready(numbers(3))
    database = Forgetful(world.settings)
    claiming = Claiming(world, database=database)
    database.loses_answer = True
    with pytest.raises(OperationalError):
        claiming.turn()
    assert world.statuses(broadcast_id) == {"sending": 3}
    assert claiming.shelf.works == []
    assert claiming.turn() == {broadcast_id: 3}
    database.dispose()


def test_a_paced_session_is_claimed_for_no_faster_than_its_rate(world: World) -> None:
    world.session(rate=20.0)
    broadcast_id = world.ready(numbers(100))
    claiming = Claiming(world)
    began = now_ms() * 1000
    first = claiming.turn()[broadcast_id]
    again = claiming.turn().get(broadcast_id, 0)
    took = now_ms() * 1000 - began
    assert 19 <= first <= 20
    assert first + again <= 20 * (1 + took / 1_000_000) + 1
    moments = [work.moment for work in claiming.shelf.works]
    assert moments == sorted(set(moments))
    gaps = {later - earlier for earlier, later in pairwise(moments)}
    assert min(gaps) >= 1_000_000 / 20


def test_a_session_whose_rate_was_raised_sends_at_once(world: World) -> None:
    session_id = world.session(rate=0.01)
    broadcast_id = world.ready(numbers(100))
    claiming = Claiming(world)
    assert claiming.turn() == {broadcast_id: 1}
    assert claiming.turn() == {}
    with world.database.writing() as db:
        change = partial(sessions.update, channels=world.accounts.channels, vault=world.vault)
        change(db, world.client_id, session_id, {"rate": 20.0})
    assert claiming.turn()[broadcast_id] >= 19


def test_every_part_costs_a_slot(world: World, stage: Stage) -> None:
    del stage
    world.session("probe", rate=20.0)
    broadcast_id = world.ready(numbers(100), "a message of five parts")
    claiming = Claiming(world)
    assert 3 <= claiming.turn()[broadcast_id] <= 5


def test_broadcasts_of_one_paced_session_share_its_rate(world: World) -> None:
    world.session(rate=20.0)
    made = [world.ready(numbers(100)) for _ in range(2)]
    claiming = Claiming(world, room=40)
    began = now_ms()
    claimed = Counter(claiming.turn()) + Counter(claiming.turn())
    took = (now_ms() - began) / 1000
    assert 19 <= claimed.total() <= 20 * (1 + took) + 1
    assert set(claimed) <= set(made)


def test_slots_that_nobody_took_are_not_used_up(world: World) -> None:
    session_id = world.session(rate=20.0)
    world.ready([ADA])
    before = now_ms() * 1000
    Claiming(world).turn()
    spoken_for = world.get_session(session_id).paced_until
    assert before < spoken_for < now_ms() * 1000 + pacing.HORIZON


def test_a_paced_session_does_not_slow_down_another(world: World) -> None:
    slow, fast = world.session(rate=1.0), world.session()
    world.ready(numbers(50), session_id=slow)
    quick = world.ready(numbers(50), session_id=fast)
    claiming = Claiming(world)
    claimed = sum(claiming.turn().get(quick, 0) for _ in range(2))
    assert claimed == 50


def failing_for(session_id: str) -> Callable[[Account], None]:
    """Return a way of opening that fails for one session."""

    def fail(account: Account) -> None:
        if account.session_id == session_id:
            raise ValueError("its key is gone")

    return fail


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail
