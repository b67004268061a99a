"""The provider's later word, from its arrival to the counters of the broadcast."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from service.channels.errors import PermanentError
from service.channels.webhooks import Receipt, ReceiptState
from service.core import broadcasts, decisions, receipts, reports, sent_parts, waiting
from service.core.deliveries import claims, transitions
from service.core.deliveries.progress import NAMELESS, unsent
from service.core.deliveries.transitions import Outcome
from service.core.receipts import Applied
from service.core.sent_parts import PartSent
from service.database import now_ms
from service.dispatch.upkeep.receipts import judge_for
from service.models import Delivery, DeliveryStatus
from tests.probe import Stage
from tests.statements import noted
from tests.world import ADA, GRACE, JOAN, World, numbers

SENT, DELIVERED, READ, FAILED = ReceiptState
SECOND = 1_000
STOPPED = PermanentError("No more of this.", code="131050", opted_out=True)


class Sent(NamedTuple):
    """A broadcast of which each delivery stands where a sender left it."""

    world: World
    session_id: str
    broadcast_id: str

    @property
    def deliveries(self) -> Sequence[Delivery]:
        return self.world.deliveries(self.broadcast_id)

    @property
    def only(self) -> Delivery:
        (delivery,) = self.deliveries
        return delivery

    def word(self, state: ReceiptState, part: int = 0, place: int = 0, **more: Any) -> Receipt:
        """Return a receipt for a part of the delivery at a place in `to`."""
        reference = f"{self.deliveries[place].id}.{part}"
        said = {"provider_id": f"id-{place}.{part}", "reference": reference, **more}
        if state is FAILED:
            said.setdefault("error", PermanentError("Not on WhatsApp.", code="131026"))
        return Receipt(state=state, **said)

    def tell(self, *words: Receipt, session_id: str = "", now: int | None = None) -> Applied:
        """Let receipts arrive and be applied at once."""
        now = now_ms() if now is None else now
        with self.world.database.writing() as db:
            receipts.store(db, session_id or self.session_id, words, now=now)
        return self.apply(now=now)

    def apply(self, *, now: int) -> Applied:
        with self.world.database.writing() as db:
            sessions = waiting.due(db, now=now)
            judge = judge_for(db, self.world.settings, now)
            result = receipts.apply(db, sessions, 1_000, judge, now=now)
            decisions.carry_out(db, result.decisions, now=now)
        return Applied(result.applied, result.unknown, result.untimely, result.waiting)

    def record(self, claim_id: str, *outcomes: Outcome) -> None:
        with self.world.database.writing() as db:
            transitions.record(db, claim_id, outcomes, now=now_ms())

    def waiting(self) -> int:
        return int(self.world.ask("SELECT COALESCE(sum(size), 0) AS n FROM waiting_receipts")[0].n)


@pytest.fixture(autouse=True)
def _stage(stage: Stage) -> None:
    del stage


def left(
    world: World,
    status: DeliveryStatus = DeliveryStatus.SENT,
    to: Sequence[str] = (ADA,),
    says: str = "Hello",
    **columns: Any,
) -> Sent:
    """Return a broadcast, a part a word, whose deliveries a sender left at a status."""
    session_id = world.session("probe")
    broadcast_id = world.ready(to, says, session_id=session_id)
    sent = Sent(world, session_id, broadcast_id)
    claimed = world.claim(broadcast_id)
    parts = len(says.split())
    outcomes = [
        Outcome(each.id, status, 1, now_ms(), now_ms(), _ids(place, parts))._replace(**columns)
        for place, each in enumerate(claimed.deliveries)
    ]
    sent.record(claimed.id, *outcomes)
    return sent


def _ids(place: int, parts: int) -> str:
    return " ".join(f"id-{place}.{part}" for part in range(parts))


def test_receipts_move_a_delivery_and_the_counters_of_its_broadcast(world: World) -> None:
    sent = left(world, to=[ADA, GRACE, JOAN])
    told = sent.tell(
        sent.word(DELIVERED, place=0),
        sent.word(READ, place=1),
        sent.word(FAILED, place=2),
    )
    assert told == Applied(applied=3)
    assert [each.status for each in sent.deliveries] == ["delivered", "read", "failed"]
    assert (sent.deliveries[2].code, sent.deliveries[2].reason) == ("131026", "Not on WhatsApp.")
    broadcast = world.get(sent.broadcast_id)
    assert broadcast.status == "completed"
    counts = reports.counts(broadcast)
    assert (counts["sent"], counts["delivered"], counts["read"], counts["failed"]) == (0, 1, 1, 1)
    world.assert_counters_equal_rows([sent.broadcast_id])
    assert sent.waiting() == 0


def test_batches_in_any_order_and_any_number_end_the_same(world: World) -> None:
    chance = random.Random(131026)  # noqa: S311 - the same disorder every time
    sent = left(world, to=numbers(20), says="Two words")
    ends = [chance.choice([SENT, DELIVERED, READ, FAILED]) for _ in range(20)]
    words = [
        sent.word(state, part, place)
        for place, end in enumerate(ends)
        for part in range(2)
        for state in (SENT, DELIVERED, READ)[
            : 1 if end is FAILED else [*ReceiptState].index(end) + 1
        ]
    ]
    words += [sent.word(FAILED, 1, place) for place, end in enumerate(ends) if end is FAILED]
    words += chance.choices(words, k=len(words) // 2)
    chance.shuffle(words)
    while words:
        batch = [words.pop() for _ in range(min(len(words), chance.randint(1, 30)))]
        assert sent.tell(*batch) == Applied(applied=len(batch))
    assert [each.status for each in sent.deliveries] == [str(end) for end in ends]
    world.assert_counters_equal_rows([sent.broadcast_id])


def test_a_receipt_settles_what_was_uncertain(world: World) -> None:
    uncertain = left(world, DeliveryStatus.UNCERTAIN, message_ids=None, code="no_answer")
    assert world.get(uncertain.broadcast_id).uncertain == 1
    uncertain.tell(uncertain.word(SENT, provider_id="wamid.1"))
    only = uncertain.only
    assert (only.status, only.message_ids, only.code, only.reason) == (
        "sent",
        "wamid.1",
        None,
        None,
    )
    assert only.sent_at is not None
    assert world.get(uncertain.broadcast_id).status == "completed"
    world.assert_counters_equal_rows([uncertain.broadcast_id])


def test_an_uncertain_part_that_arrived_lets_the_next_ones_be_sent(world: World) -> None:
    uncertain = left(world, DeliveryStatus.UNCERTAIN, says="one two three", message_ids="id-0.0")
    assert world.get(uncertain.broadcast_id).status == "completed"
    uncertain.tell(uncertain.word(DELIVERED, part=1))
    broadcast = world.get(uncertain.broadcast_id)
    assert (broadcast.status, broadcast.closed_at, broadcast.uncertain) == ("sending", None, 0)
    (claimed,) = world.claim(uncertain.broadcast_id).deliveries
    assert claimed.message_ids == "id-0.0 id-0.1"


def test_after_a_crash_nothing_is_sent_again_because_one_part_is_known(world: World) -> None:
    session_id = world.session("probe")
    broadcast_id = world.ready([ADA], "one two", session_id=session_id)
    crashed = Sent(world, session_id, broadcast_id)
    claimed = world.claim(broadcast_id)
    with world.database.writing() as db:
        claims.rescue(db, claimed.id, broadcast_id, resend=False, now=now_ms())
    crashed.tell(crashed.word(SENT, part=0))
    assert crashed.only.status == "uncertain"
    assert world.claim(broadcast_id).deliveries == []
    crashed.tell(crashed.word(SENT, part=1))
    assert (crashed.only.status, crashed.only.message_ids) == ("sent", "id-0.0 id-0.1")
    world.assert_counters_equal_rows([broadcast_id])


def test_a_receipt_does_not_shorten_the_wait_for_the_next_attempt(world: World) -> None:
    later = now_ms() + 3_600 * SECOND
    waiting = left(world, DeliveryStatus.QUEUED, says="one two", message_ids="id-0.0", due_at=later)
    waiting.tell(waiting.word(READ, part=0))
    assert (waiting.only.status, waiting.only.progress) == ("queued", "r.")
    assert waiting.only.due_at == later


def test_a_receipt_that_comes_before_the_send_is_recorded_waits(world: World) -> None:
    session_id = world.session("probe")
    broadcast_id = world.ready([ADA], session_id=session_id)
    early = Sent(world, session_id, broadcast_id)
    claimed = world.claim(broadcast_id)
    now = now_ms()
    word = early.word(DELIVERED, pricing="PMP regular marketing billable")
    assert early.tell(word, now=now) == Applied(waiting=1)
    # However long it takes: it is known whom this is about.
    assert early.apply(now=now + 100 * SECOND) == Applied(waiting=1)
    assert early.only.status == "sending"
    done = Outcome(claimed.deliveries[0].id, DeliveryStatus.SENT, 1, now, now, "id-0.0")
    early.record(claimed.id, done)
    assert early.apply(now=now + 102 * SECOND) == Applied(applied=1)
    assert early.only.status == "delivered"
    assert early.only.pricing == "PMP regular marketing billable"
    world.assert_counters_equal_rows([broadcast_id])


def test_a_receipt_of_nothing_of_ours_waits_ten_minutes_and_is_counted(world: World) -> None:
    sent = left(world)
    now = now_ms()
    unknown = [
        Receipt("wamid.unknown", DELIVERED),
        Receipt("wamid.other", DELIVERED, reference="order 17"),
        Receipt("wamid.gone", DELIVERED, reference=f"{'0' * 24}.0"),
        sent.word(READ, part=1),
    ]
    assert sent.tell(*unknown, now=now) == Applied(unknown=2, waiting=2)
    assert sent.apply(now=now + 60 * SECOND) == Applied(waiting=2)
    assert sent.apply(now=now + 239 * SECOND) == Applied()  # ever more seldom
    assert sent.apply(now=now + 600 * SECOND) == Applied(unknown=2)
    assert sent.waiting() == 0
    assert sent.only.status == "sent"


@pytest.mark.parametrize(
    "reference",
    ["", ".", "0.0", f"{'a' * 24}", f"{'a' * 24}.", f"{'a' * 24}.-1", f"{'a' * 24}.{'9' * 40}"],
)
def test_no_reference_upsets_the_store(world: World, reference: str) -> None:
    sent = left(world)
    word = Receipt("wamid.\0 1", READ, reference, ("\ud800 broken\0",))
    assert sent.tell(word).waiting == 1


def test_another_sessions_word_moves_nothing(world: World) -> None:
    sent = left(world)
    other = world.session("probe")
    assert sent.tell(sent.word(FAILED), session_id=other).applied == 0
    assert sent.only.status == "sent"
    with world.database.writing() as db:
        sent_parts.remember(db, [PartSent(sent.session_id, "id-x", sent.only.id, 0)])
    nameless = Receipt("id-x", READ)
    assert sent.tell(nameless, session_id=other).applied == 0
    assert sent.tell(nameless).applied == 1
    assert sent.only.status == "read"


def test_a_receipt_without_our_reference_is_found_by_the_providers_id(world: World) -> None:
    sent = left(world, to=[ADA, GRACE], says="one two")
    parts = [
        PartSent(sent.session_id, f"id-{place}.{part}", delivery.id, part)
        for place, delivery in enumerate(sent.deliveries)
        for part in range(2)
    ]
    with world.database.writing() as db:
        sent_parts.remember(db, parts)
        sent_parts.remember(db, parts)
    told = sent.tell(*(Receipt(each.message_id, READ) for each in parts[1:]))
    assert told == Applied(applied=3)
    assert [each.progress for each in sent.deliveries] == [".r", "rr"]
    assert [each.status for each in sent.deliveries] == ["sent", "read"]


def test_only_those_who_opted_out_are_remembered(world: World) -> None:
    sent = left(world, to=[ADA, GRACE])
    sent.tell(sent.word(FAILED, place=0, error=STOPPED), sent.word(FAILED, place=1))
    sent.tell(sent.word(FAILED, place=0, error=STOPPED))
    rows = world.ask("SELECT session_id, recipient FROM opt_outs")
    assert [tuple(row) for row in rows] == [(sent.session_id, ADA)]


def test_who_opted_out_is_left_out_of_the_sessions_next_broadcasts(world: World) -> None:
    sent = left(world, to=[ADA, GRACE])
    sent.tell(sent.word(FAILED, place=0, error=STOPPED))
    for session_id, failed in ((sent.session_id, 1), (world.session("probe"), 0)):
        broadcast_id = world.ready([ADA, GRACE, JOAN], session_id=session_id)
        ada, *others = world.deliveries(broadcast_id)
        assert world.get(broadcast_id).failed == failed
        assert (ada.status, ada.code) == (("failed", "opted_out") if failed else ("queued", None))
        assert {each.status for each in others} == {"queued"}
        world.assert_counters_equal_rows([broadcast_id])


def retry(sent: Sent, *statuses: DeliveryStatus) -> None:
    with sent.world.database.writing() as db:
        broadcasts.retry(
            db,
            sent.world.client_id,
            sent.broadcast_id,
            statuses,
            accounts=sent.world.accounts,
            now=now_ms(),
        )


def test_a_retry_sends_the_part_that_failed_and_no_other(world: World) -> None:
    sent = left(world, to=[ADA, GRACE], says="one two three")
    sent.tell(sent.word(DELIVERED, 0), sent.word(FAILED, 1), sent.word(READ, 2))
    sent.tell(*(sent.word(FAILED, part, place=1) for part in range(3)))
    retry(sent, DeliveryStatus.FAILED)
    ada, grace = world.claim(sent.broadcast_id).deliveries
    assert ada.message_ids == "id-0.0 !id-0.1 id-0.2"
    assert grace.message_ids == "!id-1.0 !id-1.1 !id-1.2"


def test_an_old_receipt_does_not_settle_a_retry(world: World) -> None:
    """Meta repeats its webhooks for days; the second message has the reference of the first."""
    sent = left(world)
    old = [sent.word(SENT), sent.word(FAILED)]
    sent.tell(*old)
    retry(sent, DeliveryStatus.FAILED)
    sent.tell(*old)
    assert sent.only.status == "queued"
    claimed = world.claim(sent.broadcast_id)
    done = Outcome(sent.only.id, DeliveryStatus.SENT, 1, now_ms(), now_ms(), "id-new")
    sent.record(claimed.id, done)
    sent.tell(*old)
    assert sent.only.status == "sent"
    sent.tell(sent.word(DELIVERED, provider_id="id-new"))
    assert sent.only.status == "delivered"
    world.assert_counters_equal_rows([sent.broadcast_id])


def test_what_is_retried_though_it_may_have_arrived_is_marked(world: World) -> None:
    uncertain = left(
        world, DeliveryStatus.UNCERTAIN, to=[ADA, GRACE], says="one two", message_ids="id-0.0"
    )
    retry(uncertain, DeliveryStatus.UNCERTAIN)
    claimed = world.claim(uncertain.broadcast_id)
    assert {each.message_ids for each in claimed.deliveries} == {"id-0.0 !"}
    with world.database.writing() as db:
        claims.rescue(db, claimed.id, uncertain.broadcast_id, resend=True, now=now_ms())
    again = world.claim(uncertain.broadcast_id).deliveries[0].message_ids or ""
    assert unsent(again.split(), 2) == [1]
    # Who hears of it meanwhile does not get it twice.
    fresh = left(world, DeliveryStatus.UNCERTAIN, message_ids=None)
    retry(fresh, DeliveryStatus.UNCERTAIN)
    fresh.tell(fresh.word(DELIVERED))
    assert (fresh.only.status, fresh.only.message_ids) == ("delivered", "id-0.0")


def test_ids_of_any_kind_survive_a_retry(world: World) -> None:
    odd = f"{NAMELESS} wa\"mid\\'[],{{}}é"
    sent = left(world, says="one two", message_ids=odd)
    sent.tell(sent.word(FAILED, 0, provider_id=""))
    retry(sent, DeliveryStatus.FAILED)
    (claimed,) = world.claim(sent.broadcast_id).deliveries
    assert claimed.message_ids == f"!{odd}"


def test_what_failed_without_a_receipt_is_retried_as_it_is(world: World) -> None:
    sent = left(world, DeliveryStatus.FAILED, says="one two", message_ids="id-0.0")
    none = left(world, DeliveryStatus.FAILED, message_ids=None)
    for each, kept in ((sent, "id-0.0"), (none, None)):
        retry(each, DeliveryStatus.FAILED)
        assert world.claim(each.broadcast_id).deliveries[0].message_ids == kept


def test_what_came_together_shares_rows_until_it_is_applied(world: World) -> None:
    sent = left(world, to=numbers(150))
    told = [sent.word(state, place=place) for place in range(150) for state in (SENT, READ)]
    with world.database.writing() as db:
        receipts.store(db, sent.session_id, told, now=now_ms())
    rows = world.ask("SELECT size FROM waiting_receipts ORDER BY id")
    assert [row.size for row in rows] == [100, 100, 100]
    assert sent.apply(now=now_ms()) == Applied(applied=300)
    assert {each.status for each in sent.deliveries} == {"read"}
    assert sent.waiting() == 0


def test_what_has_to_wait_waits_without_what_came_with_it(world: World) -> None:
    """An unknown one waits ever longer, one that is still being sent does not."""
    now = now_ms() - 60_000
    sent = left(world, to=[ADA])
    broadcast_id = world.ready([GRACE], "Hello", session_id=sent.session_id)
    (sending,) = world.claim(broadcast_id).deliveries
    early = Receipt("id", READ, f"{sending.id}.0")
    unknown = Receipt("wamid.unknown", READ, recipients=(JOAN,))
    told = sent.tell(sent.word(READ), early, unknown, now=now)
    assert told == Applied(applied=1, waiting=2)
    assert sent.apply(now=now + 1_000) == Applied(waiting=2)
    assert sent.apply(now=now + 2_000) == Applied(waiting=1)
    assert sent.apply(now=now + 4_000) == Applied(waiting=2)
    assert sent.waiting() == 2


def test_a_row_of_many_does_not_keep_small_ones_from_their_turn(world: World) -> None:
    sent = left(world, to=numbers(300))
    words = [sent.word(READ, place=place) for place in range(300)]
    now = now_ms()
    for some in ([words[0]], words[1:101], [words[101]], words[102:202], words[202:]):
        with world.database.writing() as db:
            receipts.store(db, sent.session_id, some, now=now)
    with world.database.writing() as db:
        assert len(waiting.take(db, sent.session_id, 110, now=now)) == 1 + 100 + 1 + 100
    with world.database.writing() as db:
        assert len(waiting.take(db, sent.session_id, 110, now=now)) == 98


def test_what_is_taken_is_in_the_order_in_which_it_came(world: World) -> None:
    """The last word on an account holds or releases a session."""
    sent = left(world)
    now = now_ms()
    names = [f"wamid.{number}" for number in range(159)]
    with world.database.writing() as db:
        # The second row is too large for what is taken first, and the third one is not.
        for start, size in ((0, 1), (1, 100), (101, 1), (102, 57)):
            some = [Receipt(name, READ) for name in names[start : start + size]]
            receipts.store(db, sent.session_id, some, now=now + start)
    with world.database.writing() as db:
        taken = waiting.take(db, sent.session_id, 110, now=now + 1_000)
    assert [word.message_id for word in taken] == names


def test_words_that_wait_again_are_stored_in_one_statement(world: World) -> None:
    sent = left(world)
    now = now_ms()
    with world.database.writing() as db:
        for number in range(20):
            told = [Receipt(f"wamid.{number}.{place}", READ) for place in range(2)]
            receipts.store(db, sent.session_id, told, now=now - number)
    with noted(world.database) as statements:
        assert sent.apply(now=now) == Applied(waiting=40)
    stored = [each.sql.split()[:3] for each in statements]
    assert stored.count(["INSERT", "INTO", "waiting_receipts"]) == 1
    assert sent.waiting() == 40


def test_a_batch_takes_no_more_than_its_limit_and_the_oldest_first(world: World) -> None:
    sent = left(world, to=numbers(10))
    words = [sent.word(READ, place=place) for place in range(10)]
    with world.database.writing() as db:
        for each in words:
            receipts.store(db, sent.session_id, [each], now=now_ms())
        judge = judge_for(db, world.settings, now_ms())
        due = waiting.due(db, now=now_ms())
        assert receipts.apply(db, due, 4, judge, now=now_ms()).applied == 4
    assert [each.status for each in sent.deliveries] == ["read"] * 4 + ["sent"] * 6
    assert sent.waiting() == 6
