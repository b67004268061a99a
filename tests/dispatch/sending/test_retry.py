"""What follows from a driver's word."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UncertainError,
)
from service.core.decisions import Decision, Hold
from service.core.deliveries.claims import Claimed
from service.core.deliveries.transitions import Outcome
from service.dispatch.sending import retry
from service.dispatch.sending.retry import Policy
from service.models import DeliveryStatus

NOW = 1_700_000_000_000
SESSION = "5" * 24
BROADCAST = "b" * 18 + "0" * 6
FIRST_TRY = Claimed(f"{BROADCAST[:18]}000001", BROADCAST, "2348179803743", 0, None)
LAST_TRY = FIRST_TRY._replace(attempts=2)
POLICY = Policy(
    max_attempts=3, retry_base=5.0, retry_cap=60.0, expires_at=NOW + 3_600_000, resend=False
)
RESENDING = replace(POLICY, resend=True)
ENDING = replace(POLICY, expires_at=NOW + 1_000)
GONE = PermanentError("This number is not on the channel.", code="not_on_channel")
PASSING = RetryableError("A passing fault.", code="try_again")
UNANSWERED = UncertainError("No answer came.", code="timeout")
UNANSWERED_WITH_ID = UncertainError("No answer came.", code="timeout", provider_id="3EB0")


def judged(
    error: Exception,
    delivery: Claimed = FIRST_TRY,
    policy: Policy = POLICY,
    *,
    taken: tuple[str, ...] = (),
    draw: float = 0.5,
) -> Decision:
    return retry.judge(error, delivery, list(taken), policy, SESSION, now=NOW, draw=lambda: draw)


@pytest.mark.parametrize(
    ("error", "delivery", "policy", "status"),
    [
        (GONE, FIRST_TRY, POLICY, "failed"),
        (GONE, FIRST_TRY, RESENDING, "failed"),
        (RequestError("Refused."), FIRST_TRY, POLICY, "failed"),
        (RequestError("Refused."), FIRST_TRY, RESENDING, "failed"),
        (PASSING, FIRST_TRY, POLICY, "queued"),
        (PASSING, LAST_TRY, POLICY, "failed"),
        (PASSING, FIRST_TRY, ENDING, "failed"),
        (UNANSWERED, FIRST_TRY, POLICY, "uncertain"),
        (UNANSWERED, LAST_TRY, POLICY, "uncertain"),
        (UNANSWERED, FIRST_TRY, RESENDING, "queued"),
        (UNANSWERED, LAST_TRY, RESENDING, "uncertain"),
        (UNANSWERED, FIRST_TRY, replace(ENDING, resend=True), "uncertain"),
        (UNANSWERED_WITH_ID, FIRST_TRY, POLICY, "queued"),
        (UNANSWERED_WITH_ID, LAST_TRY, POLICY, "uncertain"),
        (BlockedError("Logged out."), FIRST_TRY, POLICY, "queued"),
        (BlockedError("Logged out."), LAST_TRY, POLICY, "queued"),
        (BlockedError("Slow down.", wait=30.0), LAST_TRY, ENDING, "queued"),
        (SendError("Something else."), FIRST_TRY, POLICY, "queued"),
        (SendError("Something else."), LAST_TRY, POLICY, "failed"),
        (ZeroDivisionError(), FIRST_TRY, POLICY, "queued"),
        (ZeroDivisionError(), LAST_TRY, POLICY, "failed"),
    ],
)
def test_every_word_of_a_driver_has_its_consequence(
    error: Exception, delivery: Claimed, policy: Policy, status: str
) -> None:
    assert judged(error, delivery, policy).outcome.status == status


def test_a_blocked_account_costs_the_delivery_no_attempt() -> None:
    assert judged(BlockedError("Logged out.")).outcome.tried == 0
    assert judged(PASSING).outcome.tried == 1
    assert judged(GONE).outcome.tried == 1
    assert judged(UNANSWERED).outcome.tried == 1


def test_an_account_blocked_without_an_end_is_held_until_it_is_mended() -> None:
    decision = judged(BlockedError("Logged out.", code="401"))
    assert decision.hold == Hold("Logged out.", session_id=SESSION, until=None)
    assert decision.outcome.due_at == NOW + 5_000


def test_an_account_blocked_for_a_while_is_held_for_that_while() -> None:
    decision = judged(BlockedError("Slow down.", wait=30.0))
    assert decision.hold == Hold("Slow down.", session_id=SESSION, until=NOW + 30_000)
    assert decision.outcome.due_at == NOW + 30_000


def test_a_refused_message_holds_its_broadcast() -> None:
    assert judged(RequestError("Bad template.")).hold == Hold(
        "Bad template.", broadcast_id=BROADCAST
    )


def test_a_refused_recipient_holds_nothing() -> None:
    assert judged(GONE).hold is None


def test_parts_that_were_taken_are_kept_whatever_comes_after() -> None:
    for error in (GONE, PASSING, UNANSWERED, BlockedError("Logged out."), ZeroDivisionError()):
        assert judged(error, taken=("id-0", "id-1")).outcome.message_ids == "id-0 id-1"


def test_what_may_have_arrived_once_has_not_failed_whatever_comes_after() -> None:
    again = judged(UNANSWERED, FIRST_TRY, RESENDING, taken=("id-0",)).outcome
    assert (again.status, again.message_ids) == (DeliveryStatus.QUEUED, "id-0 !")
    last = LAST_TRY._replace(message_ids=again.message_ids)
    given_up = judged(PASSING, last, RESENDING, taken=("id-0", "!")).outcome
    assert (given_up.status, given_up.message_ids) == (DeliveryStatus.UNCERTAIN, "id-0 !")
    assert judged(PASSING, LAST_TRY, RESENDING, taken=("id-0",)).outcome.status == "failed"


def test_the_reason_is_the_drivers_sentence_and_its_code() -> None:
    outcome = judged(GONE).outcome
    assert (outcome.code, outcome.reason) == (
        "not_on_channel",
        "This number is not on the channel.",
    )


def test_giving_up_says_why() -> None:
    by_attempts = judged(PASSING, LAST_TRY).outcome.reason
    by_expiry = judged(PASSING, FIRST_TRY, ENDING).outcome.reason
    assert by_attempts == "A passing fault. Given up after 3 attempts."
    assert by_expiry == "A passing fault. Given up: the broadcast expires before the next attempt."


def test_a_defect_is_named_without_its_details() -> None:
    outcome = judged(KeyError("secret")).outcome
    assert outcome.code == "internal_error"
    assert "KeyError" in (outcome.reason or "")
    assert "secret" not in (outcome.reason or "")


def test_the_next_attempt_is_never_before_the_provider_allows() -> None:
    patient = RetryableError("Too many.", wait=90.0)
    assert judged(patient, draw=0.0).outcome.due_at == NOW + 90_000
    assert judged(replace_wait(patient, 1.0), draw=1.0).outcome.due_at == NOW + 5_000


@pytest.mark.parametrize("wait", [math.inf, math.nan, 1e300, -1.0])
@pytest.mark.parametrize("kind", [RetryableError, BlockedError])
def test_no_wait_that_a_provider_names_upsets_the_judge(
    kind: type[RetryableError | BlockedError], wait: float
) -> None:
    decision = judged(kind("Come back later.", wait=wait))
    assert NOW <= decision.outcome.due_at < 2**62
    assert decision.hold is None or NOW <= (decision.hold.until or NOW) < 2**62


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_the_wait_grows_from_attempt_to_attempt_up_to_the_cap(attempts: int, draw: float) -> None:
    wait = retry.backoff(attempts, POLICY, lambda: draw)
    assert 0 <= wait <= min(60.0, 5.0 * 2 ** min(attempts - 1, 10))
    assert wait <= retry.backoff(attempts + 1, POLICY, lambda: draw)


def test_jitter_is_full() -> None:
    assert retry.backoff(3, POLICY, lambda: 0.0) == 0.0
    assert retry.backoff(3, POLICY, lambda: 1.0) == 20.0


def test_a_delivery_whose_parts_were_all_taken_is_sent() -> None:
    decision = retry.sent(FIRST_TRY, ["id-0", "id-1"], now=NOW)
    outcome = decision.outcome
    assert decision == Decision(Outcome(*outcome))  # each field has its place
    assert (outcome.status, outcome.tried) == (DeliveryStatus.SENT, 1)
    assert outcome.message_ids == "id-0 id-1"


def test_a_delivery_put_back_loses_nothing() -> None:
    begun = LAST_TRY._replace(message_ids="id-0")
    outcome = retry.untried(begun, now=NOW)
    assert (outcome.status, outcome.tried, outcome.due_at) == (DeliveryStatus.QUEUED, 0, NOW)
    assert outcome.message_ids == "id-0"


def replace_wait(error: RetryableError, wait: float) -> RetryableError:
    return RetryableError(error.reason, wait=wait)
