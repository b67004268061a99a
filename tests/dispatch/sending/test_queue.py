"""Claimed deliveries on their way to a sender."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import Any, cast

import pytest

from service.core.deliveries.claims import Claimed
from service.dispatch.sending import pacing
from service.dispatch.sending.lanes import Work
from service.dispatch.sending.limits import PATIENCE, Response
from service.dispatch.sending.prepared import PreparedBroadcast
from service.dispatch.sending.queue import ClaimedQueue

ONE, OTHER = "5" * 24, "6" * 24
ACME, BELL = "a" * 24, "b" * 24
HOUR = 3_600_000_000


def broadcast(
    session_id: str = ONE, concurrency: int | None = None, client_id: str = ACME
) -> PreparedBroadcast:
    nothing: Any = cast("Any", None)
    broadcast_id = f"b{session_id}"[:24]
    return PreparedBroadcast(
        broadcast_id,
        session_id,
        nothing,
        ("Hello",),
        nothing,
        concurrency,
        client_id=client_id,
    )


def work(number: int = 0, moment: int = 0, **of: Any) -> Work:
    made = broadcast(**of)
    claimed = Claimed(f"{number:024x}", made.broadcast_id, "2348179803743", 0, None)
    return Work(claimed, made, "c" * 24, moment)


def works(count: int, **changes: Any) -> list[Work]:
    return [work(number, **changes) for number in range(count)]


def in_microseconds(seconds: float = 0.0) -> int:
    return time.time_ns() // 1000 + round(seconds * 1e6)


def answered(queue: ClaimedQueue, taken: list[Work]) -> None:
    """Let what was taken be answered at once."""
    began = time.monotonic()
    for each in taken:
        queue.settle([(each.broadcast.session_id, Response.ANSWER, [began])])


def take(queue: ClaimedQueue, most: int = 1_000) -> list[Work]:
    return queue.take(most)[0]


@pytest.fixture
def queue() -> ClaimedQueue:
    return ClaimedQueue(room=64, batch=100)


def room(queue: ClaimedQueue, client_id: str = ACME) -> int:
    """Return how many more may be claimed for a client."""
    return queue.rooms([client_id])[client_id]


# What is taken


def test_deliveries_leave_in_the_order_in_which_they_came(queue: ClaimedQueue) -> None:
    queue.add(all_of_them := works(8))
    assert [take(queue, 3), take(queue, 3), take(queue, 3)] == [
        all_of_them[:3],
        all_of_them[3:6],
        all_of_them[6:],
    ]
    assert (take(queue), len(queue)) == ([], 0)


def test_no_more_of_a_session_is_taken_than_may_be_under_way(queue: ClaimedQueue) -> None:
    queue.add(works(50, concurrency=5))
    first = take(queue)
    assert (len(first), take(queue)) == (5, [])
    answered(queue, first[:2])
    assert len(take(queue)) == 2


def test_sessions_get_even_shares(queue: ClaimedQueue) -> None:
    queue.add(works(50))
    queue.add(works(50, session_id=OTHER))
    shares = Counter(each.broadcast.session_id for each in take(queue, 10))
    assert shares == {ONE: 5, OTHER: 5}


def test_what_one_session_cannot_use_goes_to_the_others(queue: ClaimedQueue) -> None:
    queue.add(works(50, concurrency=2))
    queue.add(works(50, session_id=OTHER))
    shares = Counter(each.broadcast.session_id for each in take(queue, 10))
    assert shares == {ONE: 2, OTHER: 8}


def test_sessions_take_turns_where_there_is_room_for_one(queue: ClaimedQueue) -> None:
    for session_id in (ONE, OTHER):
        queue.add(works(4, session_id=session_id))
    taken = [take(queue, 1)[0].broadcast.session_id for _ in range(6)]
    assert Counter(taken) == {ONE: 3, OTHER: 3}


def test_no_more_is_taken_than_there_is_room_for_in_all() -> None:
    queue = ClaimedQueue(room=10, batch=100)
    for number in range(5):
        queue.add(works(10, session_id=f"{number:024x}"))
    taken = take(queue)
    assert (len(taken), take(queue)) == (10, [])
    answered(queue, taken[:4])
    assert len(take(queue)) == 4


# Clients beside each other


def of_client(taken: list[Work]) -> Counter[str]:
    return Counter(each.broadcast.client_id for each in taken)


def sessions(count: int, each: int, client_id: str) -> list[Work]:
    """Return deliveries of as many sessions of a client."""
    ids = [f"{client_id[0]}{number:023x}" for number in range(count)]
    return [work for name in ids for work in works(each, session_id=name, client_id=client_id)]


def test_clients_get_even_shares_however_many_sessions_they_have(queue: ClaimedQueue) -> None:
    queue.add(sessions(20, 5, ACME))
    queue.add(sessions(2, 20, BELL))
    assert of_client(take(queue, 16)) == {ACME: 8, BELL: 8}


def test_what_one_client_cannot_use_goes_to_the_others(queue: ClaimedQueue) -> None:
    queue.add(sessions(20, 5, ACME))
    queue.add(sessions(1, 3, BELL))
    assert of_client(take(queue, 16)) == {ACME: 13, BELL: 3}


def test_where_there_is_one_place_the_client_with_the_fewest_messages_has_it(
    queue: ClaimedQueue,
) -> None:
    queue.add(sessions(20, 5, ACME))
    assert of_client(take(queue, 10)) == {ACME: 10}
    queue.add(sessions(2, 6, BELL))
    taken = [each for _ in range(12) for each in take(queue, 1)]
    assert of_client(taken[:10]) == {BELL: 10}
    assert of_client(taken[10:]) == {ACME: 1, BELL: 1}


def test_a_client_begins_its_share_though_another_has_filled_the_room() -> None:
    queue = ClaimedQueue(room=64, batch=1_000)
    queue.add(sessions(20, 20, ACME))
    assert of_client(take(queue)) == {ACME: 64}
    assert take(queue) == []
    queue.add(sessions(20, 5, BELL))
    assert of_client(take(queue)) == {BELL: 32}
    assert take(queue) == []


def test_slots_are_kept_as_far_as_a_client_has_places() -> None:
    """Another client finds its share, however many sessions with a rate there are."""
    queue = ClaimedQueue(room=16, batch=1_000)
    for number in range(20):
        queue.add(works(8, session_id=f"{number:024x}", client_id=ACME, moment=in_microseconds()))
    assert of_client(take(queue)) == {ACME: 32}
    queue.add(sessions(1, 9, BELL))
    assert of_client(take(queue)) == {BELL: 8}


def test_a_full_queue_has_a_share_for_another_client(queue: ClaimedQueue) -> None:
    queue.add(works(200, client_id=ACME))
    assert (room(queue, ACME), room(queue, BELL)) == (0, 100)
    queue.add(works(30, session_id=OTHER, client_id=BELL))
    assert queue.rooms([ACME, BELL, "third"]) == {ACME: 0, BELL: 36, "third": 66}


# Slots


def test_a_delivery_is_not_taken_before_its_slot(queue: ClaimedQueue) -> None:
    queue.add([work(1, in_microseconds(3600))])
    taken, wait = queue.take(10)
    assert taken == []
    assert 3590 < wait <= 3600
    assert len(queue) == 1


def test_without_slots_there_is_nothing_to_wait_for(queue: ClaimedQueue) -> None:
    assert queue.take(10) == ([], math.inf)


def test_deliveries_are_taken_in_the_order_of_their_slots(queue: ClaimedQueue) -> None:
    now = in_microseconds()
    late, early = work(1, now - 1), work(2, now - 2)
    queue.add([late, early])
    assert take(queue) == [early, late]


def test_a_delivery_without_a_slot_overtakes_those_that_wait_for_theirs(
    queue: ClaimedQueue,
) -> None:
    queue.add([work(1, in_microseconds(3600)), at_once := work(2)])
    assert take(queue) == [at_once]


def test_what_has_its_slot_is_taken_however_little_was_asked_for(queue: ClaimedQueue) -> None:
    """A sender that is full asks for none: a slot is a promise all the same."""
    queue.add([due := work(1, in_microseconds()), work(2)])
    assert take(queue, 0) == [due]


def test_a_slot_gives_no_place_beyond_the_sessions_own(queue: ClaimedQueue) -> None:
    now = in_microseconds()
    queue.add([work(number, now, concurrency=2) for number in range(3)])
    first = take(queue)
    assert (len(first), take(queue)) == (2, [])
    answered(queue, first)
    assert len(take(queue)) == 1


def test_what_missed_its_slot_is_taken_to_be_given_back(queue: ClaimedQueue) -> None:
    long_ago = in_microseconds() - pacing.LATE - 1_000_000
    queue.add([work(number, long_ago, concurrency=2) for number in range(3)])
    taken = take(queue)
    assert [each.is_late(in_microseconds()) for each in taken] == [True] * 3


def test_a_slot_that_comes_by_a_clock_set_forward_is_seen(
    queue: ClaimedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add([late := work(1, in_microseconds(3600))])
    really = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: really() + 3_700_000_000_000)
    assert take(queue) == [late]


# How many are claimed


def answering(queue: ClaimedQueue) -> None:
    """Have a first message of the session answered."""
    queue.add(works(1))
    answered(queue, take(queue))


def test_a_batch_is_wanted_of_a_session_that_may_have_many_under_way(queue: ClaimedQueue) -> None:
    answering(queue)
    assert queue.wanted(broadcast()) == 100
    assert room(queue) == 200


def test_little_is_wanted_of_a_session_before_it_answers_and_when_it_ceases(
    queue: ClaimedQueue,
) -> None:
    assert queue.wanted(broadcast()) == 16
    answering(queue)
    assert queue.wanted(broadcast()) == 100
    queue.add(works(1))
    (last,) = take(queue)
    queue.settle([(last.broadcast.session_id, Response.TROUBLE, [time.monotonic()])])
    assert queue.wanted(broadcast()) == 8


@pytest.mark.parametrize(("concurrency", "expected"), [(1, 2), (4, 8), (1000, 100)])
def test_twice_its_places_are_wanted_of_a_session_with_few(
    queue: ClaimedQueue, concurrency: int, expected: int
) -> None:
    answering(queue)
    assert queue.wanted(broadcast(concurrency=concurrency)) == expected


def test_nothing_is_wanted_while_more_than_half_is_here(queue: ClaimedQueue) -> None:
    answering(queue)
    queue.add(works(51))
    assert queue.wanted(broadcast()) == 0
    take(queue, 1)
    assert queue.wanted(broadcast()) == 50


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, 100), (0.0005, 200)])
def test_the_faster_it_is_sent_the_more_are_wanted_ahead(
    monkeypatch: pytest.MonkeyPatch, seconds: float, expected: int
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr("service.dispatch.sending.lanes._MEASURED", 0.0)
    queue = ClaimedQueue(room=64, batch=100)
    answering(queue)
    clock[0] += seconds
    monkeypatch.setattr("service.dispatch.sending.lanes.WEIGHT", 1.0)
    assert queue.wanted(broadcast()) == expected


def test_the_slower_the_claims_the_more_are_wanted_ahead(
    queue: ClaimedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatch.sending.queue._AHEAD", 0.0)
    monkeypatch.setattr("service.dispatch.sending.lanes._MEASURED", 1e-9)
    monkeypatch.setattr("service.dispatch.sending.lanes.WEIGHT", 1.0)
    answering(queue)
    assert queue.wanted(broadcast()) == 100
    queue.add(works(16))
    assert len(take(queue)) > 1
    queue.note_claim(1e6)
    assert queue.wanted(broadcast()) == 200 - len(queue)


def test_an_idle_queue_has_room_for_nobody(queue: ClaimedQueue) -> None:
    assert queue.rooms([]) == {}


def test_never_more_than_two_batches_lie_claimed(queue: ClaimedQueue) -> None:
    """Those that wait for their slots count as well."""
    queue.note_claim(1e9)
    for number in range(40):
        free = min(100, room(queue))
        assert free >= 0
        moment = in_microseconds(3600) if number % 2 else 0
        wanted = min(free, queue.wanted(broadcast(f"{number:024x}")))
        queue.add(works(wanted, session_id=f"{number:024x}", moment=moment))
        assert len(queue) <= 200
    assert len(queue) == 200
    assert room(queue) == 0


def test_more_is_asked_for_when_little_is_left(queue: ClaimedQueue) -> None:
    answering(queue)
    asked: list[int] = []
    queue.on_low = lambda: asked.append(len(queue))
    queue.add(works(56))
    take(queue, 5)
    assert asked == []
    take(queue, 1)
    assert asked == [50]


def test_senders_are_told_of_new_work(queue: ClaimedQueue) -> None:
    told: list[int] = []
    queue.on_work = lambda: told.append(len(queue))
    queue.add(works(3))
    assert told == [3]


# Sessions that do not answer


def silent(queue: ClaimedQueue, taken: list[Work]) -> None:
    """Let what was taken wait too long for its answers."""
    long_ago = time.monotonic() - PATIENCE - 1
    queue.note_waits("sender", {ONE: [long_ago] * len(taken)})


def test_what_a_silent_session_will_not_get_to_soon_goes_back(queue: ClaimedQueue) -> None:
    queue.add(works(100))
    taken = take(queue)
    assert queue.remove_excess() == []
    silent(queue, taken)
    gone = queue.remove_excess()
    assert len(gone) + len(queue) + len(taken) == 100
    assert 0 < len(queue) <= 2 * 8
    assert queue.wanted(broadcast()) == 0


def test_a_silent_session_takes_no_room_from_others() -> None:
    queue = ClaimedQueue(room=8, batch=100)
    queue.add(works(100))
    taken = take(queue)
    queue.add(works(10, session_id=OTHER))
    assert (len(taken), take(queue)) == (8, [])
    silent(queue, taken)
    assert [each.broadcast.session_id for each in take(queue)] == [OTHER] * 8


def test_a_session_that_sends_nothing_is_forgotten(
    queue: ClaimedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatch.sending.queue._KEPT", -1.0)
    queue.add(works(2, concurrency=1))
    queue.note_waits("sender", {})
    (first,) = take(queue)
    queue.note_waits("sender", {})
    answered(queue, [first])
    (second,) = take(queue)
    answered(queue, [second])
    queue.note_waits("sender", {})
    assert queue.wanted(broadcast()) == 16


# What is taken out again


def test_what_belongs_to_some_broadcasts_is_taken_out(queue: ClaimedQueue) -> None:
    queue.add([*works(3), *works(2, moment=in_microseconds(3600)), *works(1, moment=1)])
    queue.add(works(4, session_id=OTHER))
    assert queue.broadcast_ids() == {work().broadcast.broadcast_id, f"b{OTHER}"[:24]}
    gone = queue.remove(lambda work: work.broadcast.session_id == ONE)
    assert {each.broadcast.session_id for each in gone} == {ONE}
    assert (len(gone), len(queue)) == (6, 4)
    assert {each.broadcast.session_id for each in take(queue)} == {OTHER}


def test_a_closed_queue_gives_back_what_nobody_has_begun(queue: ClaimedQueue) -> None:
    told: list[bool] = []
    queue.on_work = lambda: told.append(queue.is_closed)
    queue.add([work(1, in_microseconds(3600)), work(2), work(3)])
    assert sorted(each.delivery.id for each in queue.close()) == [
        work(number).delivery.id for number in (1, 2, 3)
    ]
    assert (take(queue), len(queue), told[-1]) == ([], 0, True)


def test_many_threads_take_each_delivery_once(queue: ClaimedQueue) -> None:
    queue = ClaimedQueue(room=1_000, batch=2_000)
    queue.add(works(2_000))
    taken: list[list[Work]] = [[] for _ in range(4)]

    def go(mine: list[Work]) -> None:
        while some := take(queue, 7):
            mine += some
            answered(queue, some)

    threads = [threading.Thread(target=go, args=(each,)) for each in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ids = [each.delivery.id for mine in taken for each in mine]
    assert len(ids) == len(set(ids)) == 2_000
