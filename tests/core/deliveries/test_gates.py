"""Gates: what waits for a daily limit or for the hours of its recipients, and what goes."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from sqlalchemy.orm import Session as Db

from service.core import daily_limits, hours, reports, sessions
from service.core.daily_limits import LEAVES_WITHIN
from service.core.deliveries import claims, gates
from service.core.deliveries.claims import Claimed
from service.database import now_ms
from service.models import FOREVER, Broadcast, Session
from tests.world import World, numbers

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOON = now_ms() // DAY * DAY + DAY + DAY // 2
DAYTIME = {"from": "08:00", "to": "20:00", "zone": "recipient"}
LAGOS, TOKYO, LOS_ANGELES = "2348031234567", "819012345678", "13105550110"


class Sent(NamedTuple):
    """A message that has left."""

    at: int
    recipient: str


def gate_of(db: Db, broadcast_id: str) -> gates.Gate:
    broadcast = db.get_one(Broadcast, broadcast_id)
    gate = gates.of(broadcast, db.get_one(Session, broadcast.session_id))
    assert gate
    return gate


def claim(
    world: World, broadcast_id: str, share: int, now: int, claim_id: str = ""
) -> list[Claimed]:
    """Claim deliveries through the gate of their broadcast; what passes has been sent at once."""
    claim_id = claim_id or world.enter()
    with world.database.writing() as db:
        gate = gate_of(db, broadcast_id)
        claimed = claims.take(db, claim_id, {broadcast_id: share}, now=now)
        until = gates.let_pass(db, claim_id, claimed, {broadcast_id: gate}, now=now)
    assert all(now < each for each in until.values())
    return [each for each in claimed if each.id in until]


def people(claimed: Iterable[Claimed]) -> list[str]:
    return sorted(each.recipient for each in claimed)


def dues(world: World) -> list[int]:
    rows = world.ask("SELECT due_at FROM deliveries WHERE status = 'queued' ORDER BY due_at")
    return [row.due_at for row in rows]


def most_in_a_day(sent: Iterable[Sent]) -> int:
    """Return the most different people in any 24 hours."""
    most, recent, counts = 0, deque[Sent](), Counter[str]()
    for message in sorted(sent):
        recent.append(message)
        counts[message.recipient] += 1
        while recent[0].at <= message.at - DAY:
            counts[recent.popleft().recipient] -= 1
        counts += Counter()
        most = max(most, len(counts))
    return most


def send_all(world: World, broadcasts: list[str], share: int, chance: random.Random) -> list[Sent]:
    """Let four processes claim until nothing is left, whose clocks and speeds differ."""
    sent: list[Sent] = []

    def turn(claim_id: str, broadcast_id: str, now: int) -> None:
        claimed = claim(world, broadcast_id, share, now, claim_id)
        sent.extend(Sent(now + chance.randrange(LEAVES_WITHIN), each.recipient) for each in claimed)

    now, processes = NOON, [world.enter() for _ in range(4)]
    with ThreadPoolExecutor(len(processes)) as pool:
        while due := dues(world):
            now = max(now, due[0]) + chance.choice([1, MINUTE, 3 * HOUR])
            turns = [
                pool.submit(turn, claim_id, broadcasts[number % 2], now + chance.randrange(MINUTE))
                for number, claim_id in enumerate(processes)
            ]
            for each in turns:
                each.result()
    return sent


def test_a_daily_limit_is_never_exceeded_whoever_claims_and_used_to_the_full(world: World) -> None:
    first = world.session(daily_limit=40, limit_group="portfolio")
    second = world.session(daily_limit=40, limit_group="portfolio")
    everybody, chance = numbers(180), random.Random(4711)  # noqa: S311
    broadcasts = [
        world.ready(everybody, session_id=first, now=NOON),
        world.ready(everybody[:60], "Again", session_id=second, now=NOON),
    ]
    sent = send_all(world, broadcasts, 15, chance)
    assert Counter(each.recipient for each in sent) == {
        each: 2 if each in everybody[:60] else 1 for each in everybody
    }
    assert most_in_a_day(sent) == 40
    assert max(each.at for each in sent) < NOON + 10 * DAY


def test_who_got_a_message_today_does_not_count_again(world: World) -> None:
    world.session(daily_limit=3)
    five = numbers(5)
    first = world.ready(five, now=NOON)
    assert people(claim(world, first, 9, NOON)) == five[:3]
    assert dues(world) == [NOON + hours_and_five(24)] * 2
    second = world.ready([*five[3:], *five[:2]], "Again", now=NOON + HOUR)
    assert people(claim(world, second, 9, NOON + HOUR)) == five[:2]
    assert claim(world, second, 9, NOON + DAY) == []
    third = NOON + hours_and_five(24)
    assert people(claim(world, first, 9, third)) == five[3:4]
    assert claim(world, first, 9, third) == []
    assert people(claim(world, second, 9, third)) == five[3:4]


def hours_and_five(count: int) -> int:
    return count * HOUR + 5 * MINUTE


def test_a_large_broadcast_is_put_off_by_the_day_in_its_order(world: World) -> None:
    world.session(daily_limit=100)
    broadcast_id = world.ready(numbers(350), now=NOON)
    assert len(claim(world, broadcast_id, 60, NOON)) == 60
    assert len(claim(world, broadcast_id, 60, NOON + 10)) == 40
    day = hours_and_five(24)
    first, second = [NOON + day] * 60, [NOON + 10 + day] * 40
    assert dues(world) == [
        *first,
        *second,
        *(each + day for each in (*first, *second)),
        *(each + 2 * day for each in first[:50]),
    ]


def test_a_broadcast_that_was_paused_loses_no_day(world: World) -> None:
    world.session(daily_limit=10)
    broadcast_id = world.ready(numbers(50), now=NOON)
    now, day = NOON, hours_and_five(24)
    for number in range(5):
        assert len(claim(world, broadcast_id, 20, now)) == (10 if number != 2 else 0)
        now += day if number != 1 else day - 3 * HOUR
    assert len(dues(world)) == 10


def test_those_who_find_no_room_get_what_nobody_waits_for() -> None:
    assert gates.surplus([1, 2, 3], []) == [1, 2, 3]
    assert gates.surplus([1, 2, 3], [1, 2, 3]) == []
    assert gates.surplus([5, 6, 7], [6]) == [5, 7]
    assert gates.surplus([5, 6, 7], [9, 9, 9]) == [5, 6, 7]


def test_a_report_says_that_the_limit_is_reached_and_until_when(world: World) -> None:
    world.session(daily_limit=1)
    broadcast_id = world.ready(numbers(2))
    now = now_ms()
    claim(world, broadcast_id, 9, now)
    with world.database.reading() as db:
        reason = reports.held(db, db.get_one(Broadcast, broadcast_id)) or ""
    assert reason.startswith("Its session has reached its daily_limit of 1 people: ")
    with world.database.reading() as db:
        session = db.get_one(Session, world.get(broadcast_id).session_id)
        wait = gates.wait(db, world.get(broadcast_id), session, now=now)
    assert wait
    assert wait.until == now + hours_and_five(24)


def test_a_higher_limit_counts_at_once(world: World) -> None:
    session_id = world.session(daily_limit=1)
    broadcast_id = world.ready(numbers(3))
    assert len(claim(world, broadcast_id, 9, now_ms())) == 1
    parts: dict[str, Any] = {"channels": world.accounts.channels, "vault": world.vault}
    with world.database.writing() as db:
        sessions.update(db, world.client_id, session_id, {"daily_limit": 2}, **parts)
    assert len(claim(world, broadcast_id, 9, now_ms() + 1)) == 1
    with world.database.writing() as db:
        changes = {"daily_limit": None}
        sessions.update(db, world.client_id, session_id, changes, **parts)
    assert len(dues(world)) == 1
    assert dues(world)[0] <= now_ms()


def test_who_was_claimed_and_given_back_does_not_count(world: World) -> None:
    world.session(daily_limit=2)
    broadcast_id, claim_id = world.ready(numbers(4), now=NOON), world.enter()
    with world.database.writing() as db:
        gate = {broadcast_id: gate_of(db, broadcast_id)}
        claimed = claims.take(db, claim_id, {broadcast_id: 2}, now=NOON)
        assert len(gates.let_pass(db, claim_id, claimed, gate, now=NOON)) == 2
    with world.database.writing() as db:
        assert claims.release(db, claim_id, NOON, now=NOON + 1) == 2
    later = "UPDATE deliveries SET due_at = :late WHERE recipient = :who"
    world.tell(later, late=NOON + DAY, who=numbers(1)[0])
    assert people(claim(world, broadcast_id, 9, NOON + 2)) == numbers(3)[1:]


def test_who_no_longer_counts_is_forgotten_though_nothing_is_sent(world: World) -> None:
    world.session(daily_limit=5)
    broadcast_id = world.ready(numbers(3), now=NOON)
    assert len(claim(world, broadcast_id, 2, NOON)) == 2
    assert len(claim(world, broadcast_id, 2, NOON + HOUR)) == 1
    for now, left in ((NOON + HOUR, 3), (NOON + DAY + HOUR // 2, 1), (NOON + 2 * DAY, 0)):
        with world.database.writing() as db:
            daily_limits.forget(db, now=now)
        assert world.ask("SELECT count(*) AS left FROM counted_recipients")[0].left == left
        assert world.ask("SELECT counted FROM limit_groups")[0].counted == left


def test_each_recipient_has_the_hours_of_their_own_zone(world: World) -> None:
    world.session()
    broadcast_id = world.ready([LAGOS, TOKYO, LOS_ANGELES], window=DAYTIME, now=NOON)
    assert world.get(broadcast_id).closes_at == FOREVER
    assert people(claim(world, broadcast_id, 9, NOON)) == [LAGOS]
    morning, evening = dues(world)
    assert evening - morning == 7 * HOUR if evening > morning else True
    for due in (morning, evening):
        assert len(claim(world, broadcast_id, 9, due - 1)) == 0
        assert len(claim(world, broadcast_id, 9, due)) == 1


def test_what_is_claimed_may_leave_until_its_hours_end(world: World) -> None:
    world.session(window=DAYTIME)
    broadcast_id, claim_id = world.ready([LAGOS], now=NOON), world.enter()
    late = NOON // DAY * DAY + 18 * HOUR + 59 * MINUTE
    with world.database.writing() as db:
        gate = {broadcast_id: gate_of(db, broadcast_id)}
        claimed = claims.take(db, claim_id, {broadcast_id: 2}, now=late)
        until = gates.let_pass(db, claim_id, claimed, gate, now=late)
    assert until == {claimed[0].id: late + MINUTE}


@pytest.mark.parametrize("count", [0, 5])
def test_a_closed_zone_does_not_keep_others_back(world: World, count: int) -> None:
    world.session()
    tokyo = [f"8190123456{number:02}" for number in range(60)]
    broadcast_id = world.ready([*tokyo, *numbers(count)], window=DAYTIME, now=NOON + 4 * HOUR)
    assert claim(world, broadcast_id, 2, NOON + 4 * HOUR) == []
    assert people(claim(world, broadcast_id, 99, NOON + 4 * HOUR)) == numbers(count)


def test_without_a_limit_or_a_zone_of_recipients_there_is_no_gate(world: World) -> None:
    session_id = world.session(window={**DAYTIME, "zone": "UTC"})
    broadcast_id = world.ready(numbers(1))
    with world.database.reading() as db:
        assert gates.of(world.get(broadcast_id), db.get_one(Session, session_id)) is None
        assert not hours.is_recipients(None)
