"""How far a delivery is, whatever order the provider's words come in."""

from __future__ import annotations

import random
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.channels.webhooks import ReceiptState
from service.core.deliveries import progress
from service.core.deliveries.progress import (
    NAMELESS,
    PROCESS_DIED,
    VOID,
    PartReport,
    State,
    doubted,
    taken,
    unsent,
)
from service.models import DeliveryStatus

SENT, DELIVERED, READ, FAILED = ReceiptState
ORDER = [DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ]
PARTS = 3


def word(state: ReceiptState, part: int = 0, message_id: str | None = None) -> PartReport:
    failed = state is ReceiptState.FAILED
    known_as = f"id-{part}" if message_id is None else message_id
    code, reason = ("131026", f"Part {part} failed.") if failed else (None, None)
    return PartReport(part, state, known_as, code, reason)


def state(status: str, ids: str = "", progress: str = "", code: str | None = None) -> State:
    return State(DeliveryStatus(status), tuple(ids.split()), progress, code, code and "A reason.")


def advance(before: State, words: list[PartReport], parts: int) -> State:
    """Return how a delivery stands after several words."""
    return reduce(lambda state, word: progress.advance(state, word, parts), words, before)


def after(before: State, *words: PartReport, parts: int = 1) -> tuple[str, str, str]:
    end = advance(before, list(words), parts)
    return str(end.status), " ".join(end.message_ids), end.progress


@given(
    st.sampled_from(ORDER),
    st.sampled_from(["", ".", "s", "d", "r"]),
    st.lists(st.sampled_from([SENT, DELIVERED, READ]), max_size=5),
)
def test_a_plain_delivery_rises_as_it_would_advance(
    status: DeliveryStatus, letter: str, said: list[ReceiptState]
) -> None:
    before = state(status, "id-0", letter)
    assert progress.is_plain(before, parts=1)
    assert reduce(progress.rise, said, before) == advance(before, [word(each) for each in said], 1)


@pytest.mark.parametrize(
    ("before", "parts"),
    [
        (state("sent", "id-0 id-1"), 2),
        (state("uncertain", "id-0"), 1),
        (state("queued", "!id-0"), 1),
        (state("sent", NAMELESS), 1),
        (state("sent", "!id-0"), 1),
        (state("sent", "id-0", "f"), 1),
        (state("sent"), 1),
    ],
)
def test_what_is_not_plain_is_weighed(before: State, parts: int) -> None:
    assert not progress.is_plain(before, parts)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([SENT], "sent"),
        ([DELIVERED], "delivered"),
        ([READ], "read"),
        ([FAILED], "failed"),
        ([READ, DELIVERED, SENT], "read"),
        ([DELIVERED, SENT, DELIVERED], "delivered"),
        ([SENT, FAILED], "failed"),
        ([FAILED, SENT], "failed"),
        ([FAILED, DELIVERED], "delivered"),
        ([DELIVERED, FAILED], "delivered"),
        ([READ, FAILED, SENT], "read"),
    ],
)
def test_a_delivery_moves_forward_only(words: list[ReceiptState], status: str) -> None:
    assert after(state("sent", "id-0"), *map(word, words))[0] == status


def test_a_delivery_stands_as_its_last_part_does() -> None:
    before = state("sent", "id-0 id-1")
    assert after(before, word(READ, 0), parts=2)[0] == "sent"
    assert after(before, word(READ, 0), word(DELIVERED, 1), parts=2)[0] == "delivered"
    assert after(before, word(READ, 0), word(READ, 1), parts=2)[0] == "read"
    assert after(before, word(READ, 0), word(FAILED, 1), parts=2)[0] == "failed"


def test_the_first_part_that_failed_gives_the_reason() -> None:
    for words in ([word(FAILED, 1), word(FAILED, 2)], [word(FAILED, 2), word(FAILED, 1)]):
        end = advance(state("sent", "id-0 id-1 id-2"), words, PARTS)
        assert (end.code, end.reason) == ("131026", "Part 1 failed.")


def test_a_delivery_that_arrived_after_all_has_no_reason() -> None:
    end = advance(state("sent", "id-0"), [word(FAILED), word(READ)], 1)
    assert (end.status, end.code, end.reason) == (DeliveryStatus.READ, None, None)


def test_the_provider_may_have_taken_what_a_sender_gave_up() -> None:
    before = state("failed", code="http_503")
    assert advance(before, [word(DELIVERED)], 1) == state("delivered", "id-0", "d")


def test_a_part_that_arrived_does_not_mend_another_that_was_refused() -> None:
    before = state("failed", "id-0", code="131026")
    end = advance(before, [word(DELIVERED, 0)], 2)
    assert (end.status, end.code) == (DeliveryStatus.FAILED, "131026")


def test_an_uncertain_delivery_is_settled_by_any_word_on_it() -> None:
    before = state("uncertain", code="no_answer")
    for said, status in ((SENT, "sent"), (DELIVERED, "delivered"), (READ, "read")):
        assert advance(before, [word(said)], 1) == state(status, "id-0", said[0])
    assert after(before, word(FAILED)) == ("failed", "id-0", "f")


def test_an_uncertain_delivery_goes_on_with_the_next_part() -> None:
    before = state("uncertain", "id-0", code="no_answer")
    assert after(before, word(SENT, 1), parts=3) == ("queued", "id-0 id-1", ".s.")


def test_a_word_on_an_earlier_part_does_not_settle_the_uncertain_one() -> None:
    before = state("uncertain", "id-0", code="no_answer")
    assert after(before, word(READ, 0), parts=2) == ("uncertain", "id-0", "r.")


def test_where_a_process_died_only_a_word_on_the_last_part_settles_it() -> None:
    """It may have sent more than the one that we hear of first."""
    before = state("uncertain", code=PROCESS_DIED)
    assert after(before, word(SENT, 0), parts=2) == ("uncertain", "id-0", "s.")
    assert after(before, word(SENT, 0), word(SENT, 1), parts=2) == ("sent", "id-0 id-1", "ss")
    assert after(before, word(SENT, 1), parts=2) == ("sent", f"{NAMELESS} id-1", ".s")
    assert after(before, word(SENT, 1), word(SENT, 0), parts=2) == ("sent", "id-0 id-1", "ss")


def test_a_delivery_that_waits_for_another_attempt_learns_that_it_was_taken() -> None:
    before = state("queued", "id-0", code="http_503")
    assert after(before, word(SENT, 1), parts=3) == ("queued", "id-0 id-1", ".s.")
    assert after(before, word(SENT, 1), parts=2) == ("sent", "id-0 id-1", ".s")


@pytest.mark.parametrize("status", ["sending", "cancelled"])
@pytest.mark.parametrize("said", ReceiptState)
def test_what_is_being_sent_or_was_cancelled_is_left_alone(status: str, said: ReceiptState) -> None:
    assert advance(state(status), [word(said)], 1) == state(status)


def test_an_old_word_on_a_message_that_failed_is_not_taken_for_one_on_the_new_try() -> None:
    retried = state("queued", f"{VOID}old")
    for said in (SENT, FAILED):
        assert advance(retried, [word(said, message_id="old")], 1) == retried
    assert after(retried, word(DELIVERED, message_id="old")) == ("delivered", "old", "d")
    again = state("sent", "new")
    assert advance(again, [word(FAILED, message_id="old")], 1) == again
    assert after(again, word(FAILED, message_id="new"))[0] == "failed"


def test_a_part_that_failed_keeps_its_id_until_another_message_takes_its_place() -> None:
    end = advance(state("sent", "id-0 id-1"), [word(FAILED, 0)], 2)
    assert taken(" ".join(end.message_ids)) == ["id-0", "id-1"]
    assert taken(f"{VOID}id-0 id-1") == ["id-0", "id-1"]
    assert taken(f"new {VOID}") == ["new"]
    assert taken(None) == []


def test_the_new_try_itself_is_believed() -> None:
    retried = state("uncertain", f"{VOID}old", code="no_answer")
    assert after(retried, word(SENT, message_id="new")) == ("sent", "new", "s")
    assert after(retried, word(FAILED, message_id="new")) == ("failed", "new", "f")


def test_parts_are_sent_in_their_order_and_those_that_failed_again() -> None:
    assert list(unsent([], 3)) == [0, 1, 2]
    assert list(unsent(["a", f"{VOID}b"], 3)) == [1, 2]
    assert list(unsent(["a", "b", NAMELESS], 3)) == []


def test_a_part_that_may_have_arrived_is_sent_again_and_settled_by_any_word() -> None:
    assert doubted([]) == ["!"]
    assert doubted(["a"]) == ["a", "!"]
    assert doubted(["a", "!b", "c"]) == ["a", "!", "c"]
    assert list(unsent(doubted(["a"]), 3)) == [1, 2]
    waiting = state("queued", "a !", code="no_answer")
    assert after(waiting, word(SENT, 1), parts=2) == ("sent", "a id-1", ".s")
    assert after(waiting, word(FAILED, 1), parts=2) == ("failed", "a id-1", ".f")


def failing(part: int = 0, message_id: str | None = None) -> PartReport:
    return word(FAILED, part, message_id)._replace(again=True)


def test_a_part_that_failed_for_a_passing_cause_is_to_be_sent_again() -> None:
    before = state("sent", "id-0 id-1", "d.")
    end = advance(before, [failing(1)], 2)
    assert (str(end.status), end.message_ids, end.progress) == ("queued", ("id-0", "!id-1"), "d.")
    assert (end.code, end.reason) == ("131026", "Part 1 failed.")
    assert after(before, failing(0), parts=2) == ("sent", "id-0 id-1", "d.")


def test_where_a_process_died_a_part_that_failed_settles_only_the_last_one() -> None:
    """Further parts may have been sent after any other."""
    before = state("uncertain", code=PROCESS_DIED)
    assert after(before, failing(0), parts=2) == ("uncertain", "!id-0", "..")
    assert after(before, failing(1), parts=2) == ("queued", "- !id-1", "..")
    assert after(before, failing(0), parts=1) == ("queued", "!id-0", ".")


def test_an_older_failure_does_not_end_what_is_to_be_sent_again() -> None:
    waiting = state("queued", "!newer", code="131000")
    assert after(waiting, word(FAILED, message_id="older")) == ("queued", "!newer", "")
    assert after(waiting, failing(0, "older")) == ("queued", "!newer", "")


def test_a_word_on_a_later_part_tells_of_what_may_have_arrived_before_it() -> None:
    waiting = state("uncertain", "!", code=PROCESS_DIED)
    assert after(waiting, word(SENT, 1), parts=2) == ("sent", f"{NAMELESS} id-1", ".s")
    known_before = state("queued", "! id-1")
    assert after(known_before, word(READ, 1), parts=2) == ("queued", "! id-1", ".r")


@given(st.lists(st.sampled_from([0, 1, 2]), max_size=3), st.randoms(use_true_random=False))
def test_parts_to_be_sent_again_are_the_same_in_any_order(
    parts: list[int], chance: random.Random
) -> None:
    words = [failing(part) for part in parts] + [word(DELIVERED, 0), word(SENT, 1)]
    end = advance(COMPLETE, words, PARTS)
    assert known(advance(COMPLETE, shuffled(words, chance), PARTS))[:2] == known(end)[:2]
    assert list(unsent(end.message_ids, PARTS)) == sorted({*parts} - {0})


def words_on(parts: int, *, contradict: bool) -> st.SearchStrategy[list[PartReport]]:
    """Return words on a delivery; without `contradict` no part both failed and arrived."""
    one = st.tuples(st.integers(0, parts - 1), st.sampled_from(ReceiptState))
    words = st.lists(one.map(lambda pair: word(pair[1], pair[0])), max_size=8)
    return words if contradict else words.filter(lambda all_: not _contradict(all_))


def _contradict(words: list[PartReport]) -> bool:
    failed = {each.part for each in words if each.state is FAILED}
    return any(each.part in failed and each.state in {DELIVERED, READ} for each in words)


def shuffled(words: list[PartReport], chance: random.Random) -> list[PartReport]:
    """Return the same words in another order, some of them twice."""
    again = [*words, *chance.choices(words, k=3)] if words else []
    chance.shuffle(again)
    return again


COMPLETE = state("sent", "id-0 id-1 id-2")
OPEN = st.sampled_from(
    [
        state("uncertain", code="no_answer"),
        state("uncertain", "id-0", code="no_answer"),
        state("uncertain", "id-0", code=PROCESS_DIED),
        state("uncertain", code=PROCESS_DIED),
        state("queued", "id-0", code="http_503"),
        state("queued"),
        state("failed", "id-0", code="131026"),
        state("failed", code="expired"),
        COMPLETE,
    ]
)


def known(end: State) -> tuple[Any, ...]:
    return end.status, end.message_ids, end.progress


@given(words_on(PARTS, contradict=True), st.randoms(use_true_random=False))
def test_any_order_and_repetition_ends_the_same(
    words: list[PartReport], chance: random.Random
) -> None:
    end = advance(COMPLETE, words, PARTS)
    assert known(advance(COMPLETE, shuffled(words, chance), PARTS)) == known(end)
    assert (end.reason is not None) == (end.status is DeliveryStatus.FAILED)


@given(OPEN, words_on(PARTS, contradict=False), st.randoms(use_true_random=False))
def test_the_same_holds_before_all_parts_are_sent(
    before: State, words: list[PartReport], chance: random.Random
) -> None:
    if before.status is DeliveryStatus.UNCERTAIN and before.code != PROCESS_DIED:
        # Nothing was sent after the part that is uncertain, and nobody can speak of it.
        words = [each for each in words if each.part <= len(before.message_ids)]
    end = advance(before, words, PARTS)
    again = advance(before, shuffled(words, chance), PARTS)
    assert known(again) == known(end)
    assert before.status is DeliveryStatus.FAILED or again == end


@given(OPEN, words_on(PARTS, contradict=True))
def test_no_word_moves_a_delivery_back(before: State, words: list[PartReport]) -> None:
    now = before
    for each in words:
        then, now = now, advance(now, [each], PARTS)
        if then.status in ORDER and now.status in ORDER:
            assert ORDER.index(now.status) >= ORDER.index(then.status)
        if then.status in ORDER:
            assert now.status in [*ORDER, DeliveryStatus.FAILED]
        assert len(now.message_ids) >= len(then.message_ids)


@given(OPEN, words_on(PARTS, contradict=True))
def test_a_repeat_changes_nothing(before: State, words: list[PartReport]) -> None:
    end = advance(before, words, PARTS)
    assert advance(end, words, PARTS)[:3] == end[:3]
