"""One delivery from its first part that is left to its decision, without a thread or a database."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from service.channels.errors import (
    BlockedError,
    PermanentError,
    RetryableError,
    SendError,
    UncertainError,
)
from service.channels.steps import Conversation, NotAllowedError, Pause
from service.core.decisions import Hold
from service.core.deliveries.claims import Claimed
from service.core.sent_parts import PartSent
from service.database import now_ms
from service.dispatch.sending.delivering import Delivered, broken, deliver, give_back
from service.dispatch.sending.lanes import Work
from service.dispatch.sending.limits import Response
from service.dispatch.sending.prepared import PreparedBroadcast
from service.dispatch.sending.retry import Policy
from tests.channels.conversing import Held, converse

BROADCAST, SESSION, DELIVERY = "b" * 24, "5" * 24, "d" * 24
POLICY = Policy(
    max_attempts=3, retry_base=1.0, retry_cap=1.0, expires_at=now_ms() + 3_600_000, resend=False
)


class Driver:
    """A driver of which each part is a word; what it does with one is the test's."""

    def __init__(self, do: Callable[[str], Any], *, echoes_references: bool = True) -> None:
        self.do = do
        self.echoes_references = echoes_references
        self.sent: list[tuple[str, str, str]] = []

    def send(self, recipient: str, prepared: str, reference: str) -> Conversation[Any]:
        self.sent.append((recipient, prepared, reference))
        yield Pause(0.0)
        return self.do(prepared)


def raising(error: Exception, at: str = "bad") -> Callable[[str], str]:
    def do(word: str) -> str:
        if word == at:
            raise error
        return f"id-{word}"

    return do


def work(driver: Driver, says: str, moment: int = 0, **claimed: Any) -> Work:
    parts = tuple(says.split())
    broadcast = PreparedBroadcast(BROADCAST, SESSION, cast("Any", driver), parts, POLICY)
    delivery = Claimed(DELIVERY, BROADCAST, "2348179803743", 0, None, 7)._replace(**claimed)
    return Work(delivery, broadcast, "c" * 24, moment, 50_000 if moment else 0)


def delivered(driver: Driver, says: str = "Hello", **more: Any) -> Delivered:
    return converse(deliver(work(driver, says, **more))).result


def well(word: str) -> str:
    return f"id-{word}"


def test_parts_are_sent_in_their_order_each_under_its_own_reference() -> None:
    driver = Driver(well)
    decision, response = delivered(driver, "one two three")
    assert driver.sent == [
        ("2348179803743", word, f"{DELIVERY}.{number}")
        for number, word in enumerate(("one", "two", "three"))
    ]
    outcome = decision.outcome
    assert (outcome.id, outcome.status, outcome.tried, outcome.claimed_at) == (
        DELIVERY,
        "sent",
        1,
        7,
    )
    assert outcome.message_ids == "id-one id-two id-three"
    assert response is Response.ANSWER


def test_parts_that_were_taken_before_are_not_sent_again() -> None:
    driver = Driver(well)
    decision, _ = delivered(driver, "one two three", message_ids="first second")
    assert [word for _, word, _ in driver.sent] == ["three"]
    assert decision.outcome.message_ids == "first second id-three"


def test_a_part_that_is_in_doubt_is_sent_again_in_its_place() -> None:
    driver = Driver(well)
    decision, _ = delivered(driver, "one two three", message_ids="first !")
    assert [word for _, word, _ in driver.sent] == ["two", "three"]
    assert decision.outcome.message_ids == "first id-two id-three"


def test_a_part_that_fails_keeps_those_before_it_and_ends_the_delivery() -> None:
    driver = Driver(raising(RetryableError("A passing fault.")))
    outcome = delivered(driver, "one bad three")[0].outcome
    assert (outcome.status, outcome.tried, outcome.message_ids) == ("queued", 1, "id-one")
    assert [word for _, word, _ in driver.sent] == ["one", "bad"]


OUTCOMES: list[tuple[Exception, str, int, Response]] = [
    (RetryableError("Busy."), "queued", 1, Response.ANSWER),
    (RetryableError("Away.", code="unreachable"), "queued", 1, Response.TROUBLE),
    (PermanentError("Unknown."), "failed", 1, Response.ANSWER),
    (UncertainError("Lost.", code="no_answer"), "uncertain", 1, Response.TROUBLE),
    (UncertainError("Odd.", code="http_200"), "uncertain", 1, Response.ANSWER),
    (BlockedError("Slow down.", wait=60.0), "queued", 0, Response.TROUBLE),
    (NotAllowedError(), "queued", 0, Response.NOTHING),
    (KeyError("a defect"), "queued", 1, Response.ANSWER),
    (RecursionError(), "queued", 1, Response.ANSWER),
    (MemoryError(), "queued", 1, Response.ANSWER),
    (RetryableError("Come back at the end of time.", wait=math.inf), "failed", 1, Response.ANSWER),
    (RetryableError("Come back some time.", wait=math.nan), "queued", 1, Response.ANSWER),
    (SendError(None), "queued", 1, Response.ANSWER),  # type: ignore[arg-type]
    (SendError("No code.", code=None), "queued", 1, Response.ANSWER),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("error", "status", "tried", "response"),
    [pytest.param(*row, id=f"{row[0]!r}") for row in OUTCOMES],
)
def test_each_error_has_its_outcome_and_says_something_about_the_limit(
    error: Exception, status: str, tried: int, response: Response
) -> None:
    decision, said = delivered(Driver(raising(error)), "bad")
    assert (decision.outcome.status, decision.outcome.tried, said) == (status, tried, response)


def test_a_blocked_account_is_held() -> None:
    decision, _ = delivered(Driver(raising(BlockedError("Logged out."))), "bad")
    assert decision.hold == Hold("Logged out.", session_id=SESSION)


def test_what_may_not_go_on_goes_back_with_the_parts_that_were_taken() -> None:
    decision, _ = delivered(Driver(raising(NotAllowedError())), "one bad")
    outcome = decision.outcome
    assert (outcome.status, outcome.tried, outcome.message_ids) == ("queued", 0, "id-one")


def test_a_defect_is_told_in_public_by_its_name_alone() -> None:
    outcome = delivered(Driver(raising(KeyError("secret"))), "bad")[0].outcome
    assert outcome.code == "internal_error"
    assert "KeyError" in (outcome.reason or "")
    assert "secret" not in (outcome.reason or "")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, "- -"),
        ("", "- -"),
        (17, "17 17"),
        ("two words", "twowords twowords"),
        ("x" * 60_000, f"{'x' * 500} {'x' * 500}"),
        ("nul\0\ud800", "nul? nul?"),
        ("wämid", "wämid wämid"),
    ],
)
def test_what_a_driver_returns_is_kept_as_one_word(given: object, kept: str) -> None:
    outcome = delivered(Driver(lambda _word: given), "one two")[0].outcome
    assert (outcome.status, outcome.message_ids) == ("sent", kept)


def test_what_receipts_name_by_the_providers_id_is_remembered() -> None:
    driver = Driver(lambda word: word if word != "nameless" else "", echoes_references=False)
    decision, _ = delivered(driver, "one nameless three", message_ids="before")
    assert decision.parts == (PartSent(SESSION, "three", DELIVERY, 2),)
    driver.echoes_references = True
    assert delivered(driver, "one")[0].parts == ()


# Slots


def paced(says: str, moment: int) -> Held[Delivered]:
    held = converse(deliver(work(Driver(well), says, moment=moment)))
    held.pauses = [each for each in held.pauses if each]  # those of the driver are none
    return held


def test_every_part_but_the_first_waits_for_its_slot() -> None:
    held = paced("one two three", time.time_ns() // 1000)
    first, second = held.pauses
    assert 0.0 < first <= 0.05
    assert 0.05 < second <= 0.1
    assert held.result[0].outcome.status == "sent"


def test_a_clock_set_back_lets_nobody_wait_longer_than_the_interval() -> None:
    held = paced("one two three", time.time_ns() // 1000 + 3_600_000_000)
    assert held.pauses == [0.05, 0.1]


def test_a_slot_that_is_over_is_not_waited_for() -> None:
    assert paced("one two three", time.time_ns() // 1000 - 1_000_000).pauses == []


def test_without_a_rate_nothing_waits() -> None:
    assert paced("one two three", 0).pauses == []


# What is not sent


def test_a_delivery_is_given_back_as_it_was() -> None:
    driver = Driver(well)
    decision, response = converse(
        give_back(work(driver, "one two", attempts=2, message_ids="first"))
    ).result
    outcome = decision.outcome
    assert (outcome.status, outcome.tried, outcome.message_ids) == ("queued", 0, "first")
    assert (response, driver.sent) == (Response.NOTHING, [])


def test_a_delivery_that_a_defect_broke_off_is_tried_again() -> None:
    decision, response = broken(work(Driver(well), "one"), ZeroDivisionError())
    assert (decision.outcome.status, decision.outcome.tried) == ("queued", 1)
    assert (decision.outcome.code, response) == ("internal_error", Response.NOTHING)
