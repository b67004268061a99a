"""A session's rate, kept together by all processes that send for it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from service.app import Application
from service.dispatch.sending.lanes import Work
from service.dispatch.sending.queue import ClaimedQueue
from tests.dispatch.sending.test_pacing import most_in_a_second
from tests.provider import Provider
from tests.sending import QUICK, Sending, dispatching
from tests.world import numbers

RATE = 50.0
SECOND = 1_000_000

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """Return what all dispatchers of this process claim."""
    claimed: list[Work] = []
    add = ClaimedQueue.add

    def note(queue: ClaimedQueue, works: list[Work]) -> None:
        claimed.extend(works)
        add(queue, works)

    monkeypatch.setattr(ClaimedQueue, "add", note)
    return claimed


def test_two_processes_keep_one_rate_and_send_nothing_before_its_slot(
    make_app: Callable[..., Application], provider: Provider, works: list[Work]
) -> None:
    sending, other = Sending(make_app(**QUICK), provider), make_app(**QUICK)
    people = numbers(80)
    with sending.running(), dispatching(other):
        broadcast_id = sending.broadcast(people, sending.session(rate=RATE))
        sending.await_completed(broadcast_id)
    moments = sorted(work.moment for work in works)
    assert len(set(moments)) == len(moments) >= len(people)
    assert most_in_a_second(moments) <= RATE
    # A delivery that missed its slot gets another one: the last is that of its message.
    slots = {work.delivery.recipient: work.moment for work in works}
    clock = time.time() - time.monotonic()
    for request in provider.messages:
        assert (request.at + clock) * SECOND > slots[request.json["to"]] - 5_000
    assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(people, 1)


def test_messages_of_a_session_with_jitter_wait_at_random(
    make_app: Callable[..., Application], provider: Provider, works: list[Work]
) -> None:
    sending, other = Sending(make_app(**QUICK), provider), make_app(**QUICK)
    people = numbers(12)
    with sending.running(), dispatching(other):
        session = sending.session(jitter={"from": 0.1, "to": 0.3})
        sending.await_completed(sending.broadcast(people, session))
    moments = sorted(work.moment for work in works)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert min(gaps) >= SECOND // 10
    assert max(gaps) > min(gaps) + SECOND // 50
    assert Counter(each.recipient for each in provider.taken) == dict.fromkeys(people, 1)


def test_every_part_of_a_message_costs_a_slot(
    make_app: Callable[..., Application], provider: Provider, works: list[Work]
) -> None:
    sending, people = Sending(make_app(**QUICK), provider), numbers(20)
    location = {"lat": "6.556452", "lng": "3.2774487"}
    with sending.running():
        session = sending.session(rate=RATE)
        broadcast_id = sending.broadcast(people, session, text="Here", location=location)
        sending.await_completed(broadcast_id)
    assert len(provider.taken) == 2 * len(people)
    slots = [work.moment + part * work.interval for work in works for part in range(2)]
    assert most_in_a_second(sorted(slots)) <= RATE
    assert len(set(slots)) == len(slots)


def test_a_slow_session_leaves_a_fast_one_alone(
    make_app: Callable[..., Application], provider: Provider
) -> None:
    sending, people = Sending(make_app(**QUICK), provider), numbers(300)
    with sending.running():
        slow = sending.broadcast(people, sending.session(name="slow", rate=1.0))
        fast = sending.broadcast(people, sending.session(name="fast"))
        sending.await_completed(fast)
        behind = sending.get(f"/broadcast/{slow}")
        sending.client.delete(f"/broadcast/{slow}")
    assert behind["counts"]["sent"] < len(people)
