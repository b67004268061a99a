"""The verbs of deliveries, each one guarded UPDATE."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import ids
from service.core import broadcasts, dispatchers, reports, variables
from service.core.deliveries import chunks, claims, retries, transitions
from service.core.deliveries.claims import Claimed
from service.core.deliveries.progress import taken
from service.core.deliveries.tallies import Closed
from service.core.deliveries.transitions import Outcome, storable
from service.core.paging import Page, PageRequest
from service.core.reports import Filter
from service.database import now_ms
from service.errors import ConflictError, InvalidError
from service.models import COUNTED, Broadcast, Delivery, DeliveryStatus
from tests.conftest import on_postgres
from tests.world import ADA, GRACE, JOAN, Claims, World, numbers

HOUR = 3_600_000
EVERYBODY = [ADA, GRACE, JOAN]


@pytest.fixture
def world(world: World) -> World:
    """Return a world in which a session is there to send with."""
    world.session()
    return world


def outcome(
    claimed: Claimed, status: DeliveryStatus = DeliveryStatus.SENT, **changes: Any
) -> Outcome:
    now = now_ms()
    made = Outcome(claimed.id, status, 1, now, now, claimed_at=claimed.claimed_at)
    return made._replace(**changes)


def record(world: World, claim_id: str, *outcomes: Outcome, now: int | None = None) -> list[Closed]:
    with world.database.writing() as db:
        return transitions.record(db, claim_id, outcomes, now=now or now_ms())


def statuses(world: World, broadcast_id: str) -> list[str]:
    return [row.status for row in world.deliveries(broadcast_id)]


# Fan-out


def test_every_recipient_gets_a_row_in_the_order_of_to(world: World) -> None:
    now = now_ms()
    broadcast_id = world.ready(EVERYBODY, now=now)
    rows = world.deliveries(broadcast_id)
    assert [row.recipient for row in rows] == EVERYBODY
    assert [row.id for row in rows] == [ids.delivery(broadcast_id, place) for place in range(3)]
    assert {(row.status, row.attempts, row.due_at) for row in rows} == {("queued", 0, now)}


def test_chunks_are_fanned_out_one_at_a_time_and_then_gone(world: World) -> None:
    small = world.with_settings(fanout_chunk=2)
    broadcast_id = small.broadcast(EVERYBODY)
    made = []
    for _ in range(3):
        with world.database.writing() as db:
            made.append(chunks.fan_out(db, broadcast_id, now=now_ms()))
    assert made == [2, 1, 0]
    assert [row.recipient for row in world.deliveries(broadcast_id)] == EVERYBODY
    assert world.ask("SELECT * FROM recipient_chunks") == []


def test_variables_go_from_the_chunks_to_the_deliveries_and_with_the_claim(world: World) -> None:
    small = world.with_settings(fanout_chunk=2)
    given = ['Ada "\\ \n 😀', None, "Joan"]
    to = [
        {"to": recipient, "variables": {"name": name}} if name else recipient
        for recipient, name in zip(EVERYBODY, given, strict=True)
    ]
    broadcast_id = small.ready(to)
    stored = [row.variables for row in world.deliveries(broadcast_id)]
    assert [variables.load(text).get("name") for text in stored] == given
    assert stored[1] is None
    assert [each.variables for each in world.claim(broadcast_id).deliveries] == stored
    assert [row.variables for row in world.deliveries(world.ready(EVERYBODY))] == [None] * 3


def test_a_fan_out_that_is_undone_leaves_its_chunk(world: World) -> None:
    broadcast_id = world.broadcast(EVERYBODY)
    with world.database.writing() as db:
        chunks.fan_out(db, broadcast_id, now=now_ms())
        db.rollback()
    assert world.deliveries(broadcast_id) == []
    world.fan_out(broadcast_id)
    assert len(world.deliveries(broadcast_id)) == 3


def test_whatsapp_groups_become_deliveries_as_well(world: World) -> None:
    group = "120363025246125486@g.us"
    broadcast_id = world.ready([group], send_type="group")
    assert [row.recipient for row in world.deliveries(broadcast_id)] == [group]


@on_postgres
def test_two_processes_fan_out_two_chunks_at_once(world: World) -> None:
    small = world.with_settings(fanout_chunk=2)
    broadcast_id = small.broadcast(EVERYBODY)
    with world.database.writing() as one, world.database.writing() as other:
        made = [chunks.fan_out(db, broadcast_id, now=now_ms()) for db in (one, other)]
    assert sorted(made) == [1, 2]
    assert [row.recipient for row in world.deliveries(broadcast_id)] == EVERYBODY


# Claim


def test_a_claim_takes_no_more_than_the_shares(world: World) -> None:
    one, other = world.ready(numbers(10)), world.ready(numbers(10))
    claim_id = world.enter()
    with world.database.writing() as db:
        claimed = claims.take(db, claim_id, {one: 3, other: 20}, now=now_ms())
    assert Counter(each.broadcast_id for each in claimed) == {one: 3, other: 10}
    assert [each.recipient for each in sorted(claimed) if each.broadcast_id == one] == numbers(3)


def test_a_claim_of_nothing_takes_nothing(world: World) -> None:
    world.ready(EVERYBODY)
    claim_id = world.enter()
    with world.database.writing() as db:
        assert claims.take(db, claim_id, {}, now=now_ms()) == []


def test_what_is_claimed_cannot_be_claimed_again(world: World) -> None:
    broadcast_id = world.ready(numbers(10))
    first, second = world.claim(broadcast_id, 6), world.claim(broadcast_id, 6)
    assert len(first.deliveries) == 6
    assert len(second.deliveries) == 4
    assert not {each.id for each in first.deliveries} & {each.id for each in second.deliveries}


def test_what_is_not_due_yet_is_not_claimed(world: World) -> None:
    broadcast_id = world.ready(EVERYBODY)
    world.tell(
        "UPDATE deliveries SET due_at = :later WHERE recipient = :who",
        later=now_ms() + HOUR,
        who=GRACE,
    )
    assert [each.recipient for each in world.claim(broadcast_id).deliveries] == [ADA, JOAN]


def test_who_waited_longest_is_claimed_first(world: World) -> None:
    broadcast_id = world.ready(EVERYBODY)
    world.tell("UPDATE deliveries SET due_at = due_at - 1000 WHERE recipient = :who", who=JOAN)
    assert [each.recipient for each in world.claim(broadcast_id, 1).deliveries] == [JOAN]


def test_a_claim_hands_over_what_is_known_of_a_delivery(world: World) -> None:
    broadcast_id = world.ready([ADA])
    world.tell("UPDATE deliveries SET attempts = 2, message_ids = 'a b'")
    (claimed,) = world.claim(broadcast_id).deliveries
    assert claimed[:5] == (ids.delivery(broadcast_id, 0), broadcast_id, ADA, 2, "a b")


@on_postgres
def test_two_claims_at_once_do_not_wait_for_each_other(world: World) -> None:
    broadcast_id = world.ready(numbers(10))
    claim_ids = world.enter(), world.enter()
    with world.database.writing() as one, world.database.writing() as other:
        taken = [
            claims.take(db, claim_id, {broadcast_id: 5}, now=now_ms())
            for db, claim_id in zip((one, other), claim_ids, strict=True)
        ]
    assert [len(each) for each in taken] == [5, 5]
    assert len({each.id for each in taken[0] + taken[1]}) == 10


def test_many_threads_claim_everything_exactly_once(world: World) -> None:
    broadcast_id = world.ready(numbers(1_000))
    taken: list[str] = []

    def work() -> None:
        claim_id = world.enter()
        while claims := world.claim(broadcast_id, 7, claim_id).deliveries:
            taken.extend(each.id for each in claims)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 1_000


def test_a_claim_is_released_whole_and_no_other(world: World) -> None:
    broadcast_id = world.ready(numbers(6))
    claim_id = world.enter()
    first = world.claim(broadcast_id, 3, claim_id)
    world.claim(broadcast_id, 2, claim_id)
    with world.database.writing() as db:
        moment = first.deliveries[0].claimed_at
        assert claims.release(db, claim_id, moment, now=now_ms()) == 3
    assert world.statuses(broadcast_id) == {"queued": 4, "sending": 2}


# Record


def test_what_a_provider_took_is_recorded(world: World) -> None:
    broadcast_id = world.ready([ADA])
    claimed = world.claim(broadcast_id)
    sent = outcome(claimed.deliveries[0], message_ids="one two")
    assert record(world, claimed.id, sent) == [Closed(broadcast_id, "completed", 1)]  # type: ignore[arg-type]
    (row,) = world.deliveries(broadcast_id)
    assert (row.status, row.attempts, row.claim_id) == ("sent", 1, None)
    assert (row.message_ids, row.sent_at, row.updated_at) == ("one two", sent.at, sent.at)


def test_what_is_to_be_tried_again_waits_for_its_moment(world: World) -> None:
    broadcast_id = world.ready([ADA])
    claimed = world.claim(broadcast_id)
    later = now_ms() + HOUR
    again = outcome(
        claimed.deliveries[0], DeliveryStatus.QUEUED, due_at=later, code="c", reason="r"
    )
    assert record(world, claimed.id, again) == []
    (row,) = world.deliveries(broadcast_id)
    assert (row.status, row.attempts, row.due_at) == ("queued", 1, later)
    assert (row.code, row.reason, row.sent_at) == ("c", "r", None)
    assert world.claim(broadcast_id).deliveries == []


def test_what_was_not_tried_costs_no_attempt(world: World) -> None:
    broadcast_id = world.ready([ADA])
    claimed = world.claim(broadcast_id)
    record(world, claimed.id, outcome(claimed.deliveries[0], DeliveryStatus.QUEUED, tried=0))
    assert world.deliveries(broadcast_id)[0].attempts == 0


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE deliveries SET status = 'queued', claim_id = NULL",
        "UPDATE deliveries SET status = 'uncertain', claim_id = NULL",
        "UPDATE deliveries SET claim_id = 'cccccccccccccccccccccccc'",
        "UPDATE deliveries SET status = 'sent'",
    ],
)
def test_who_no_longer_holds_a_delivery_changes_nothing(world: World, meanwhile: str) -> None:
    broadcast_id = world.ready([ADA])
    claimed = world.claim(broadcast_id)
    world.tell(meanwhile)
    (before,), version = world.deliveries(broadcast_id), world.get(broadcast_id).version
    failed = outcome(claimed.deliveries[0], DeliveryStatus.FAILED, reason="Too late.")
    assert record(world, claimed.id, failed) == []
    (after,) = world.deliveries(broadcast_id)
    assert (after.status, after.reason, after.attempts) == (before.status, None, 0)
    assert (world.get(broadcast_id).failed, world.get(broadcast_id).version) == (0, version)


def test_a_repeat_of_a_result_does_not_hit_the_next_claim_of_the_same_process(
    world: World,
) -> None:
    broadcast_id = world.ready([ADA])
    claim_id = world.enter()
    (first,) = world.claim(broadcast_id, claim_id=claim_id).deliveries
    again = outcome(first, DeliveryStatus.QUEUED)
    record(world, claim_id, again)
    (second,) = world.claim(broadcast_id, claim_id=claim_id).deliveries
    record(world, claim_id, again)
    assert statuses(world, broadcast_id) == ["sending"]
    record(world, claim_id, outcome(second))
    assert statuses(world, broadcast_id) == ["sent"]
    assert world.deliveries(broadcast_id)[0].attempts == 2


def test_results_of_several_broadcasts_and_kinds_are_recorded_together(world: World) -> None:
    made = [world.ready(numbers(5)) for _ in range(3)]
    claim_id = world.enter()
    claimed = [each for one in made for each in world.claim(one, claim_id=claim_id).deliveries]
    kinds = [*COUNTED[:1], *COUNTED[3:], DeliveryStatus.QUEUED]
    mixed = [outcome(each, kinds[place % 5]) for place, each in enumerate(claimed)]
    random.Random(5).shuffle(mixed)  # noqa: S311 - an order, not a secret
    record(world, claim_id, *mixed)
    expected = {str(kind): 1 for kind in kinds}
    assert [world.statuses(each) for each in made] == [expected] * 3
    world.assert_counters_equal_rows(made)


def test_only_what_closes_just_now_is_reported(world: World) -> None:
    one, other = world.ready([ADA]), world.ready([ADA, GRACE])
    claim_id = world.enter()
    claimed = [each for id_ in (one, other) for each in world.claim(id_, 1, claim_id).deliveries]
    closed = record(world, claim_id, *map(outcome, claimed))
    assert [each.id for each in closed] == [one]
    assert record(world, claim_id, *map(outcome, claimed)) == []


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(st.lists(st.tuples(WORDS, st.none() | WORDS), min_size=3, max_size=3))
def test_whatever_words_a_provider_uses_are_kept(
    world: World, words: list[tuple[str, str | None]]
) -> None:
    broadcast_id = world.ready(EVERYBODY)
    claimed = world.claim(broadcast_id)
    results = [
        outcome(claimed, DeliveryStatus.FAILED, reason=reason, code=code)
        for claimed, (reason, code) in zip(claimed.deliveries, words, strict=True)
    ]
    record(world, claimed.id, *results)
    assert [(row.reason, row.code) for row in world.deliveries(broadcast_id)] == words


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_storable_is_left_as_it_is_and_all_else_becomes_so(words: str) -> None:
    stored = storable(words)
    assert "\0" not in stored
    stored.encode()
    assert storable(stored) == stored
    if "\0" not in words and not any(0xD800 <= ord(character) <= 0xDFFF for character in words):
        assert stored == words


# Rescue


def test_the_claims_of_the_dead_are_orphans(world: World) -> None:
    one, other = world.ready(numbers(4)), world.ready(numbers(4))
    dead, alive = world.enter(), world.enter()
    for broadcast_id in (one, other):
        world.claim(broadcast_id, 2, dead)
        world.claim(broadcast_id, 1, alive)
    bury(world, dead)
    with world.database.reading() as db:
        found = {(each["claim_id"], each["broadcast_id"]) for each in claims.orphans(db)}
    assert found == {(dead, one), (dead, other)}


@pytest.mark.parametrize(("resend", "expected"), [(True, "queued"), (False, "uncertain")])
def test_a_rescue_takes_back_what_the_dead_had_and_nothing_else(
    world: World,
    resend: bool,  # noqa: FBT001 - pytest passes it by name
    expected: str,
) -> None:
    broadcast_id = world.ready(numbers(6))
    dead, alive = world.claim(broadcast_id, 2), world.claim(broadcast_id, 2)
    record(world, dead.id, outcome(dead.deliveries[0]))
    rescue(world, dead.id, broadcast_id, resend=resend)
    assert statuses(world, broadcast_id) == [
        *("sent", expected),
        *("sending", "sending"),
        *("queued", "queued"),
    ]
    assert {row.claim_id for row in world.deliveries(broadcast_id)} == {None, alive.id}
    world.assert_counters_equal_rows([broadcast_id])


def test_a_second_rescue_changes_nothing(world: World) -> None:
    broadcast_id = world.ready(EVERYBODY)
    dead = world.claim(broadcast_id)
    assert rescue(world, dead.id, broadcast_id, resend=False)
    before = world.get(broadcast_id)
    assert rescue(world, dead.id, broadcast_id, resend=False) == []
    assert world.get(broadcast_id).version == before.version
    assert world.statuses(broadcast_id) == {"uncertain": 3}


def test_parts_that_were_taken_before_a_crash_are_remembered(world: World) -> None:
    broadcast_id = world.ready([ADA])
    first = world.claim(broadcast_id)
    record(
        world,
        first.id,
        outcome(first.deliveries[0], DeliveryStatus.QUEUED, message_ids="one two"),
    )
    dead = world.claim(broadcast_id)
    rescue(world, dead.id, broadcast_id, resend=True)
    assert taken(world.claim(broadcast_id).deliveries[0].message_ids) == ["one", "two"]


@on_postgres
def test_a_result_and_a_rescue_at_the_same_time_count_once(world: World) -> None:
    broadcast_id = world.ready([ADA])
    claimed = world.claim(broadcast_id)
    began = threading.Event()

    def rescue_meanwhile() -> None:
        began.set()
        rescue(world, claimed.id, broadcast_id, resend=False)

    rescuer = threading.Thread(target=rescue_meanwhile)
    with world.database.writing() as db:
        transitions.record(db, claimed.id, [outcome(claimed.deliveries[0])], now=now_ms())
        rescuer.start()
        began.wait(60)
    rescuer.join()
    assert statuses(world, broadcast_id) == ["sent"]
    world.assert_counters_equal_rows([broadcast_id])


# Withdraw and requeue


def test_only_what_nobody_has_claimed_is_withdrawn(world: World) -> None:
    broadcast_id = world.ready(numbers(6))
    claimed = world.claim(broadcast_id, 2)
    record(world, claimed.id, outcome(claimed.deliveries[0]))
    assert withdraw(world, broadcast_id, 3) == 3
    assert withdraw(world, broadcast_id, 3) == 1
    assert withdraw(world, broadcast_id, 3) == 0
    assert world.statuses(broadcast_id) == {"sent": 1, "sending": 1, "cancelled": 4}
    reasons = {row.reason for row in world.deliveries(broadcast_id) if row.status == "cancelled"}
    assert reasons == {"Deleted."}
    world.assert_counters_equal_rows([broadcast_id])


def test_what_is_requeued_has_a_new_set_of_attempts_and_keeps_its_parts(world: World) -> None:
    broadcast_id = world.ready(EVERYBODY)
    claimed = world.claim(broadcast_id)
    failed, unknown, sent = claimed.deliveries
    record(
        world,
        claimed.id,
        outcome(failed, DeliveryStatus.FAILED, message_ids="one", reason="r"),
        outcome(unknown, DeliveryStatus.UNCERTAIN),
        outcome(sent),
    )
    assert world.get(broadcast_id).status == "completed"
    now = now_ms()
    with world.database.writing() as db:
        broadcast = db.get_one(Broadcast, broadcast_id)
        assert retries.requeue(db, broadcast, DeliveryStatus.FAILED, now=now) == 1
    rows = world.deliveries(broadcast_id)
    assert [row.status for row in rows] == ["queued", "uncertain", "sent"]
    assert (rows[0].attempts, rows[0].due_at, rows[0].message_ids) == (0, now, "one")
    assert world.get(broadcast_id).closed_at is None
    world.assert_counters_equal_rows([broadcast_id])
    with world.database.writing() as db:
        broadcast = db.get_one(Broadcast, broadcast_id)
        assert retries.requeue(db, broadcast, DeliveryStatus.FAILED, now=now) == 0


# Pages


@pytest.mark.parametrize("descending", [False, True])
def test_all_pages_together_are_everybody_in_the_order_of_to(
    world: World,
    descending: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    broadcast_id = world.ready(numbers(23))
    found: list[str] = []
    for number in (1, 2, 3):
        page = see(world, broadcast_id, PageRequest(number, 10, descending))
        assert page.total == 23
        found += [row.recipient for row in page.items]
    assert found == (numbers(23)[::-1] if descending else numbers(23))


def test_a_page_beyond_the_last_is_refused(world: World) -> None:
    broadcast_id = world.ready(numbers(10))
    with pytest.raises(InvalidError):
        see(world, broadcast_id, PageRequest(2, 10))
    with pytest.raises(InvalidError):
        see(world, broadcast_id, PageRequest(10**9, 10))


def test_a_page_shows_no_other_broadcast(world: World) -> None:
    made = [world.ready(EVERYBODY) for _ in range(3)]
    page = see(world, made[1], PageRequest(1, 1000))
    assert {row.broadcast_id for row in page.items} == {made[1]}


def test_a_page_of_what_is_not_all_there_yet_shows_what_is(world: World) -> None:
    small = world.with_settings(fanout_chunk=2)
    broadcast_id = small.broadcast(EVERYBODY)
    assert see(world, broadcast_id, PageRequest()).total == 0
    with world.database.writing() as db:
        chunks.fan_out(db, broadcast_id, now=now_ms())
    assert [row.recipient for row in see(world, broadcast_id, PageRequest()).items] == [ADA, GRACE]


def test_a_page_may_be_of_one_status_or_one_recipient(world: World) -> None:
    broadcast_id = world.ready(EVERYBODY)
    claimed = world.claim(broadcast_id, 2)
    record(world, claimed.id, outcome(claimed.deliveries[1]))

    def recipients(status: DeliveryStatus | None = None, *people: str) -> list[str]:
        page = see(world, broadcast_id, PageRequest(), status, people)
        assert page.total == len(page.items)
        return [row.recipient for row in page.items]

    assert recipients(DeliveryStatus.SENT) == [GRACE]
    assert recipients(DeliveryStatus.SENDING) == [ADA]
    assert recipients(DeliveryStatus.QUEUED) == [JOAN]
    assert recipients(DeliveryStatus.FAILED) == []
    assert recipients(None, JOAN) == [JOAN]
    assert recipients(None, JOAN, ADA) == [ADA, JOAN]
    assert recipients(DeliveryStatus.SENT, JOAN) == []


# All together


@pytest.mark.parametrize("seed", range(3))
def test_counters_equal_rows_after_whatever_happened(world: World, seed: int) -> None:
    """A client, processes that die and a sweep do what they may, in any order."""
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    story = Story(world.with_settings(fanout_chunk=7), chance)
    for _ in range(60):
        story.go_on()
        story.check()
    story.finish()
    story.check()
    assert {world.get(each).closed_at is None for each in story.broadcasts} == {False}


class Story:
    """A random sequence of what can happen to three broadcasts."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.broadcasts = [world.broadcast(numbers(count)) for count in (1, 9, 30)]
        self._world = world
        self._chance = chance
        self._claims: list[Claims] = []

    def go_on(self) -> None:
        broadcast_id = self._chance.choice(self.broadcasts)
        happenings = (
            [self._fan_out] * 3
            + [self._claim] * 4
            + [self._record] * 6
            + [self._die, self._withdraw, self._retry, self._repeat]
        )
        self._chance.choice(happenings)(broadcast_id)

    def check(self) -> None:
        for broadcast_id in self.broadcasts:
            broadcast, rows = self._world.get(broadcast_id), self._world.statuses(broadcast_id)
            counters = {name: getattr(broadcast, name) for name in COUNTED}
            assert counters == {name: rows.get(name, 0) for name in COUNTED}
            assert counters == self._world.timeline(broadcast_id)
            is_open = sum(counters.values()) < broadcast.total
            assert (broadcast.closed_at is None) == is_open
            assert (broadcast.status == "completed") == (not is_open)

    def finish(self) -> None:
        for broadcast_id in self.broadcasts:
            self._world.fan_out(broadcast_id)
            claimed = self._world.claim(broadcast_id)
            if claimed.deliveries:
                record(self._world, claimed.id, *map(outcome, claimed.deliveries))
        for claimed in self._claims:
            record(self._world, claimed.id, *map(outcome, claimed.deliveries))

    def _fan_out(self, broadcast_id: str) -> None:
        with self._world.database.writing() as db:
            chunks.fan_out(db, broadcast_id, now=now_ms())

    def _claim(self, broadcast_id: str) -> None:
        claimed = self._world.claim(broadcast_id, self._chance.randint(1, 12))
        if claimed.deliveries:
            self._claims.append(claimed)

    def _record(self, _broadcast_id: str) -> None:
        if self._claims:
            claimed = self._claims.pop(self._chance.randrange(len(self._claims)))
            kinds = [DeliveryStatus.QUEUED, *COUNTED[:1], *COUNTED[3:]]
            results = [outcome(each, self._chance.choice(kinds)) for each in claimed.deliveries]
            record(self._world, claimed.id, *results[: self._chance.randint(1, len(results))])
            record(self._world, claimed.id, *results)

    def _repeat(self, _broadcast_id: str) -> None:
        if self._claims:
            claimed = self._chance.choice(self._claims)
            stranger = self._world.enter()
            record(self._world, stranger, *map(outcome, claimed.deliveries))

    def _die(self, _broadcast_id: str) -> None:
        if self._claims:
            dead = self._chance.choice(self._claims)
            bury(self._world, dead.id)
            broadcast_id = dead.deliveries[0].broadcast_id
            rescue(self._world, dead.id, broadcast_id, resend=self._chance.random() < 0.5)

    def _withdraw(self, broadcast_id: str) -> None:
        withdraw(self._world, broadcast_id, self._chance.randint(1, 5))

    def _retry(self, broadcast_id: str) -> None:
        status = self._chance.choice([DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN])
        client_id = self._world.client_id
        try:
            with self._world.database.writing() as db:
                broadcasts.retry(
                    db,
                    client_id,
                    broadcast_id,
                    [status],
                    accounts=self._world.accounts,
                    now=now_ms(),
                )
        except ConflictError:
            assert self._world.statuses(broadcast_id).get(status, 0) == 0


def bury(world: World, dispatcher_id: str) -> None:
    with world.database.writing() as db:
        dispatchers.remove(db, [dispatcher_id])


def rescue(world: World, claim_id: str, broadcast_id: str, *, resend: bool) -> list[Closed]:
    with world.database.writing() as db:
        return claims.rescue(db, claim_id, broadcast_id, resend=resend, now=now_ms())


def withdraw(world: World, broadcast_id: str, limit: int) -> int:
    with world.database.writing() as db:
        end = (DeliveryStatus.CANCELLED, "cancelled", "Deleted.")
        return transitions.withdraw(db, broadcast_id, *end, limit=limit, now=now_ms())


def see(
    world: World,
    broadcast_id: str,
    request: PageRequest,
    status: DeliveryStatus | None = None,
    recipients: tuple[str, ...] = (),
) -> Page[Delivery]:
    broadcast = world.get(broadcast_id)
    with world.database.reading() as db:
        return reports.page(db, broadcast, Filter(status, recipients), request)
