"""Windows of broadcasts and sessions: what is claimed, reported and estimated."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from service.core import broadcasts, estimates, openings, reports, sessions
from service.core.deliveries import claims
from service.core.estimates import Estimate
from service.database import now_ms
from service.errors import InvalidError
from service.models import FOREVER, Broadcast
from tests.conftest import on_sqlite
from tests.waiting import LIMIT, until
from tests.world import World, numbers

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MIDNIGHT = now_ms() // DAY * DAY
ALL_DAY = {"from": "00:00", "to": "24:00", "zone": "UTC"}


def hours(begins: int, ends: int) -> dict[str, Any]:
    return {"from": f"{begins:02}:00", "to": f"{ends:02}:00", "zone": "UTC"}


def elsewhere() -> dict[str, Any]:
    """Return an hour that is at least eleven hours away."""
    hour = (dt.datetime.now(dt.UTC).hour + 12) % 24
    return hours(hour, (hour + 1) % 24)


def active(world: World, now: int) -> list[str]:
    with world.database.reading() as db:
        return [
            each.broadcast_id for each in claims.active(db, {}, turns=9, assigned=None, now=now)
        ]


def claimed(world: World, broadcast_id: str, now: int) -> int:
    claim_id = world.enter()
    with world.database.writing() as db:
        return len(claims.take(db, claim_id, {broadcast_id: 1}, now=now))


def move_on(world: World, now: int) -> None:
    with world.database.writing() as db:
        openings.move_on(db, now=now)


@pytest.mark.parametrize("of", ["broadcast", "session"])
def test_nothing_is_claimed_outside_of_a_window(world: World, of: str) -> None:
    window = hours(8, 20)
    session_id = world.session(window=window if of == "session" else None)
    start = MIDNIGHT + 2 * DAY
    world.tell("UPDATE sessions SET opens_at = 0, closes_at = :now", now=start)
    move_on(world, start)
    order: dict[str, Any] = {"window": window} if of == "broadcast" else {}
    broadcast_id = world.ready(numbers(9), now=start, **order)
    version = world.get_session(session_id).version
    for day in (start, start + DAY):
        for hour, is_open in ((0, False), (7.99, False), (8, True), (19.99, True), (20, False)):
            now = day + int(hour * HOUR)
            with world.database.reading() as db:
                assert bool(claims.sendable(db, {broadcast_id}, now=now)) == is_open
            assert bool(active(world, now)) == is_open
            assert bool(claimed(world, broadcast_id, now)) == is_open
        move_on(world, day + 21 * HOUR)
    assert world.get(broadcast_id).version == 0
    assert world.get_session(session_id).version == version


def test_both_windows_must_be_open_at_some_time(world: World) -> None:
    world.session(window=hours(8, 12))
    with pytest.raises(InvalidError) as refused:
        world.broadcast(numbers(1), window=hours(12, 20))
    assert refused.value.errors == {"window": [openings.NEVER]}
    start = MIDNIGHT + DAY
    broadcast_id = world.broadcast(numbers(1), now=start, window=hours(10, 20))
    assert world.get(broadcast_id).expires_at == start + 10 * HOUR + 3 * DAY
    with pytest.raises(InvalidError) as refused:
        world.broadcast(numbers(1), now=start, window=hours(10, 20), expires_at=start + 10 * HOUR)
    [[reason]] = refused.value.errors.values()
    assert "Must be later than the window opens" in reason


def test_a_report_says_until_when_a_broadcast_waits(world: World) -> None:
    session_id = world.session()
    window = elsewhere()
    broadcast_id = world.ready(numbers(1), window=window)
    with world.database.reading() as db:
        broadcast = db.get_one(Broadcast, broadcast_id)
        reason = reports.held(db, broadcast) or ""
        assert reason.startswith("Outside of its window: it is sent from ")
        assert f"T{window['from']}:00.000Z." in reason
    vault, channels = world.vault, world.accounts.channels
    never = {**window, "from": window["to"], "to": window["from"]}
    with world.database.writing() as db:
        change = {"window": never}
        sessions.update(db, world.client_id, session_id, change, channels=channels, vault=vault)
        assert reports.held(db, db.get_one(Broadcast, broadcast_id)) == openings.NEVER


@on_sqlite
def test_an_estimate_leaves_out_what_is_closed(world: World) -> None:
    world.session(rate=1 / 3600, window=ALL_DAY)
    start = MIDNIGHT + DAY
    for people, expires, expected in (
        (5, 9 * DAY, Estimate(start + 13 * HOUR)),
        (16, 9 * DAY, Estimate(start + DAY + 12 * HOUR)),
        (30, DAY + 10 * HOUR, Estimate(start + DAY + 10 * HOUR, expiring=16)),
        (30, 21 * HOUR, Estimate(start + 21 * HOUR, expiring=18)),
        (30_000, 9_000 * DAY, Estimate(None, reason=estimates.TOO_SHORT)),
    ):
        order: dict[str, Any] = {
            "window": hours(8, 20),
            "now": start,
            "expires_at": start + expires,
        }
        broadcast_id = world.broadcast(numbers(people), **order)
        with world.database.reading() as db:
            made = estimates.make(db, db.get_one(Broadcast, broadcast_id), 0, now=start)
        assert made == expected


def test_a_changed_window_counts_at_once(world: World) -> None:
    session_id = world.session()
    broadcast_id = world.ready(numbers(1), window=elsewhere())
    assert active(world, now_ms()) == []
    with world.database.writing() as db:
        broadcasts.pause(db, world.client_id, broadcast_id, now=now_ms())
    world.edit(world.get(broadcast_id), window=ALL_DAY)
    with world.database.writing() as db:
        broadcasts.resume(db, world.client_id, broadcast_id, now=now_ms())
    world.fan_out(broadcast_id)
    assert world.get(broadcast_id).closes_at == FOREVER
    assert active(world, now_ms()) == [broadcast_id]
    parts: dict[str, Any] = {"channels": world.accounts.channels, "vault": world.vault}
    for window, expected in ((elsewhere(), []), (None, [broadcast_id])):
        with world.database.writing() as db:
            sessions.update(db, world.client_id, session_id, {"window": window}, **parts)
        assert active(world, now_ms()) == expected


def test_what_is_claimed_goes_back_when_a_window_closes_and_on_when_it_opens(world: World) -> None:
    world.session(rate=1)
    world.tell("UPDATE sessions SET paced_until = :later", later=(now_ms() + 5_000) * 1000)
    broadcast_id = world.broadcast(numbers(5), window=ALL_DAY)
    dispatcher = world.dispatcher(poll_interval=0.1, sweep_interval=0.1)
    dispatcher.start()
    close = 'UPDATE broadcasts SET "window" = :window, closes_at = :now WHERE id = :id'
    until(lambda: len(world.deliveries(broadcast_id)) == 5)
    world.tell(close, window=str(elsewhere()).replace("'", '"'), now=now_ms(), id=broadcast_id)
    until(lambda: world.get(broadcast_id).opens_at > now_ms())
    until(lambda: world.statuses(broadcast_id).get("sending", 0) == 0)
    world.tell("UPDATE sessions SET rate = NULL, version = version + 1")
    world.tell("UPDATE broadcasts SET opens_at = 0")
    world.await_status(broadcast_id, "completed")
    assert dispatcher.stop(LIMIT)
