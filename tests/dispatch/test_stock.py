"""Claimed deliveries on their way to a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from service.core.deliveries.claims import Claimed
from service.dispatch.campaigns import Campaign
from service.dispatch.stock import Stock, Work
from tests.waiting import until

POLICY: Any = cast("Any", None)


class Many:
    """What a stock asks of a driver that sends many."""

    def may_send_many(self, prepared: str) -> bool:
        return prepared == "Hello"


def campaign(*, together: bool) -> Campaign:
    driver = cast("Any", Many())
    return Campaign("b" * 24, "5" * 24, driver, ("Hello",), POLICY, driver if together else None)


APART, TOGETHER, OTHER = (campaign(together=together) for together in (False, True, True))


def work(
    number: int = 0,
    moment: int = 0,
    campaign: Campaign = APART,
    claim_id: str = "c" * 24,
    taken: str | None = None,
) -> Work:
    claimed = Claimed(f"{number:024x}", "b" * 24, "2348179803743", 0, taken)
    return Work(claimed, campaign, claim_id, moment)


@pytest.fixture
def stock() -> Iterator[Stock]:
    stock = Stock(threads=4, most=100)
    stock.pacer.start()
    yield stock
    stock.pacer.stop()
    assert stock.pacer.join(10)


def test_an_empty_stock_has_room_for_a_delivery_per_thread(stock: Stock) -> None:
    assert stock.room() == 4


def test_there_is_no_room_while_more_than_half_is_there(stock: Stock) -> None:
    stock.add([work(), work(), work()])
    assert stock.room() == 0
    stock.take()
    assert stock.room() == 2


def test_the_faster_the_sending_the_more_is_kept_ahead(stock: Stock) -> None:
    stock.learn(200.0)
    assert stock.room() == 50
    stock.learn(1.0)
    assert stock.room() == 4


def test_never_more_is_kept_ahead_than_allowed(stock: Stock) -> None:
    stock.learn(1e9)
    assert stock.room() == 100


def test_deliveries_leave_in_the_order_in_which_they_came(stock: Stock) -> None:
    works = [work(number) for number in range(10)]
    stock.add(works)
    assert [stock.take() for _ in works] == [[each] for each in works]


def test_more_is_asked_for_when_little_is_left(stock: Stock) -> None:
    asked: list[int] = []
    stock.on_low = lambda: asked.append(1)
    stock.learn(80.0)
    stock.add([work(number) for number in range(10)])
    for _ in range(4):
        stock.take()
    assert not asked
    stock.take()
    assert asked


def test_deliveries_of_a_broadcast_leave_together_where_its_driver_sends_many(
    stock: Stock,
) -> None:
    works = [work(number, campaign=TOGETHER) for number in range(5)]
    stock.add(works)
    assert [stock.take(3), stock.take(3)] == [works[:3], works[3:]]


@pytest.mark.parametrize(
    "other",
    [
        work(2, campaign=OTHER),
        work(2, campaign=TOGETHER, claim_id="d" * 24),
        work(2, campaign=TOGETHER, taken="!"),
        work(2, campaign=APART),
    ],
)
def test_unlike_deliveries_leave_one_by_one(stock: Stock, other: Work) -> None:
    works = [work(1, campaign=TOGETHER), other, work(3, campaign=TOGETHER)]
    stock.add(works)
    assert [stock.take(3) for _ in works] == [[each] for each in works]


def test_deliveries_with_a_slot_of_their_own_leave_one_by_one(stock: Stock) -> None:
    now = time.time_ns() // 1000
    works = [work(number, now + number, campaign=TOGETHER) for number in range(3)]
    stock.add(works)
    assert [stock.take(3) for _ in works] == [[each] for each in works]


def test_a_delivery_is_not_handed_out_before_its_slot(stock: Stock) -> None:
    now = time.time_ns() // 1000
    late, early = work(1, now + 60_000), work(2, now + 30_000)
    stock.add([late, early])
    assert stock.take() == [early]
    assert time.time_ns() // 1000 >= early.moment
    assert stock.take() == [late]
    assert time.time_ns() // 1000 >= late.moment


def test_a_delivery_without_a_slot_overtakes_those_that_wait_for_theirs(stock: Stock) -> None:
    stock.add([work(1, time.time_ns() // 1000 + 3_600_000_000), work(2)])
    assert stock.take() == [work(2)]


def test_a_delivery_whose_slot_has_come_overtakes_those_without_one(stock: Stock) -> None:
    stock.learn(400.0)
    paced = [work(number, time.time_ns() // 1000 + 20_000 + number) for number in (1, 2)]
    stock.add([*paced, *(work(number) for number in range(3, 13))])
    # Nobody takes anything until both are due and there.
    until(lambda: stock.room() == 100 - 12)
    assert [stock.take()[0] for _ in range(3)] == [*paced, work(3)]


def test_a_slot_that_comes_by_a_clock_set_forward_is_seen(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = work(1, time.time_ns() // 1000 + 3_600_000_000)
    stock.add([late])
    really = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: really() + 3_700_000_000_000)
    assert stock.take() == [late]


def test_a_closed_stock_gives_back_what_nobody_has_begun(stock: Stock) -> None:
    waiting = work(1, time.time_ns() // 1000 + 3_600_000_000)
    stock.add([waiting, work(2), work(3)])
    assert sorted(left.delivery.id for left in stock.close()) == [
        work(number).delivery.id for number in (1, 2, 3)
    ]


def test_a_closed_stock_lets_every_thread_come_to_its_end(stock: Stock) -> None:
    ended: list[list[Work]] = []
    threads = [threading.Thread(target=lambda: ended.append(stock.take())) for _ in range(4)]
    for thread in threads:
        thread.start()
    stock.close()
    for thread in threads:
        thread.join(10)
    assert ended == [[]] * 4
