"""Daily limits and the hours of recipients in a running service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from service import logs
from service.config import Settings
from service.core import reports, sessions
from service.database import Database, now_ms
from service.models import Broadcast
from tests.conftest import Tenant, on_sqlite
from tests.waiting import LIMIT, until
from tests.world import World, numbers

HOUR, DAY = 3_600_000, 86_400_000
ORDER = {"send_type": "individual", "message": {"text": "Hello"}}
LAGOS, RUSSIA, SATELLITE = "2348031234567", "79161234567", "870773111234"


@pytest.fixture
def world(settings: Settings, database: Database) -> World:
    logs.configure(settings)
    return World(settings, database)


@pytest.fixture
def dispatching(world: World) -> Iterator[World]:
    dispatcher = world.dispatcher(poll_interval=0.1, sweep_interval=0.1)
    dispatcher.start()
    yield world
    assert dispatcher.stop(LIMIT)


def arrived(world: World) -> list[str]:
    return [message["recipient"] for message in world.received()]


def reason(world: World, broadcast_id: str) -> str | None:
    with world.database.reading() as db:
        return reports.held(db, db.get_one(Broadcast, broadcast_id))


def change(world: World, session_id: str, **fields: Any) -> None:
    parts: dict[str, Any] = {"channels": world.accounts.channels, "vault": world.vault}
    with world.database.writing() as db:
        sessions.update(db, world.client_id, session_id, fields, **parts)


def test_a_broadcast_stops_at_the_daily_limit_and_goes_on_when_that_is_raised(
    dispatching: World,
) -> None:
    world, people = dispatching, numbers(40)
    session_id = world.session(daily_limit=25)
    broadcast_id = world.broadcast(people)
    until(lambda: world.statuses(broadcast_id).get("sent") == 25)
    until(lambda: "daily_limit of 25 people" in (reason(world, broadcast_id) or ""))
    again = world.broadcast(arrived(world)[:3], "Again")
    world.await_status(again, "completed")
    change(world, session_id, daily_limit=None)
    world.await_status(broadcast_id, "completed")
    assert sorted(arrived(world)) == sorted([*people, *arrived(world)[25:28]])


def test_a_dry_run_spreads_a_broadcast_over_days(acme: Tenant) -> None:
    window = {"from": "08:00", "to": "20:00", "zone": "Africa/Lagos"}
    acme.make("/session", name="main", channel="sandbox", daily_limit=1_000, window=window)
    order = {**ORDER, "to": numbers(2_500), "send_at": "2998-01-01T00:00:00Z"}
    preview = acme.post("/broadcast?dry_run=true", json=order).json["data"]
    assert preview["begins_at"] == "2998-01-01T07:00:00.000Z"
    assert preview["estimate"]["days"] == [
        {"date": "2998-01-01", "recipients": 1_000},
        {"date": "2998-01-02", "recipients": 1_000},
        {"date": "2998-01-03", "recipients": 500},
    ]
    assert preview["estimate"]["expiring"] == 0
    assert preview["estimate"]["ends_at"] == "2998-01-03T07:10:00.000Z"
    assert preview["expires_at"] == "2998-01-06T07:10:00.000Z"
    short = acme.post(
        "/broadcast?dry_run=true", json={**order, "expires_at": "2998-01-02T00:00:00Z"}
    ).json["data"]["estimate"]
    assert (short["expiring"], len(short["days"])) == (1_500, 1)


def test_a_dry_run_without_a_limit_has_no_days(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox", rate=1)
    preview = acme.post("/broadcast?dry_run=true", json={**ORDER, "to": numbers(2)}).json["data"]
    assert preview["estimate"]["days"] == []


def test_a_dry_run_knows_the_hours_of_each_recipient(acme: Tenant) -> None:
    window = {"from": "08:00", "to": "20:00", "zone": "recipient"}
    acme.make("/session", name="main", channel="sandbox", rate=1)
    at = "2998-01-01T12:00:00Z"
    order = {**ORDER, "to": ["819012345678", LAGOS], "send_at": at, "window": window}
    preview = acme.post("/broadcast?dry_run=true", json=order).json["data"]
    assert preview["begins_at"] == "2998-01-01T12:00:00.000Z"
    assert preview["estimate"]["ends_at"] == "2998-01-01T23:00:01.000Z"
    assert preview["expires_at"] == "2998-01-04T23:00:00.000Z"
    made = acme.make("/broadcast", **order)
    assert made["window"] == window


def test_a_window_that_is_never_open_in_all_zones_of_somebody_is_refused(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    window = {"from": "09:00", "to": "17:00", "zone": "recipient"}
    order = {**ORDER, "to": [LAGOS, RUSSIA], "window": window}
    answer = acme.post("/broadcast", json=order)
    assert answer.status_code == 422
    [said] = answer.json["errors"]["window"]
    assert f"For 1 recipients, such as {RUSSIA}, it never is" in said
    wide = {**window, "from": "06:00", "to": "23:00"}
    assert acme.post("/broadcast", json={**order, "window": wide}).status_code == 201


def test_who_has_no_zone_has_the_hours_of_utc(world: World) -> None:
    world.session()
    now = dt.datetime.now(dt.UTC)
    hour = (now.hour + 12) % 24
    window = {"from": f"{hour:02}:00", "to": f"{(hour + 1) % 24:02}:00", "zone": "recipient"}
    broadcast_id = world.ready([SATELLITE], window=window)
    dispatcher = world.dispatcher(poll_interval=0.1, sweep_interval=0.1)
    dispatcher.start()
    try:
        until(lambda: reason(world, broadcast_id) is not None)
    finally:
        assert dispatcher.stop(LIMIT)
    said = reason(world, broadcast_id) or ""
    assert said.startswith("Outside of its window where its recipients are: it is sent from ")
    assert f"T{hour:02}:00:00.000Z" in said
    assert world.statuses(broadcast_id) == {"queued": 1}
    assert world.deliveries(broadcast_id)[0].due_at - now_ms() <= DAY


def test_a_limit_group_needs_a_limit(acme: Tenant) -> None:
    answer = acme.post("/session", json={"name": "a", "channel": "sandbox", "limit_group": "x"})
    assert answer.json["errors"] == {"limit_group": ["Needs a `daily_limit`, which it shares."]}
    session = acme.make("/session", name="b", channel="sandbox", limit_group="x", daily_limit=5)
    assert (session["daily_limit"], session["limit_group"], session["jitter"]) == (5, "x", None)
    path = f"/session/{session['_id']}"
    assert acme.put(path, json={"daily_limit": None}).status_code == 422
    changed = acme.put(path, json={"daily_limit": None, "limit_group": None}).json["data"]
    assert (changed["daily_limit"], changed["limit_group"]) == (None, None)


@on_sqlite
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"daily_limit": 0}, "daily_limit"),
        ({"daily_limit": 1.5}, "daily_limit"),
        ({"limit_group": "a\nb", "daily_limit": 1}, "limit_group"),
        ({"jitter": {"from": 5}}, "jitter.to"),
        ({"jitter": {"from": 5, "to": 4}}, "jitter.to"),
        ({"jitter": {"from": 0, "to": 0}}, "jitter.to"),
        ({"jitter": {"from": -1, "to": 4}}, "jitter.from"),
        ({"jitter": {"from": 1, "to": 3_601}}, "jitter.to"),
        ({"jitter": [1, 2]}, "jitter"),
    ],
)
def test_limits_and_jitter_that_make_no_sense_are_refused(
    acme: Tenant, wrong: dict[str, Any], field: str
) -> None:
    answer = acme.post("/session", json={"name": "a", "channel": "sandbox", **wrong})
    assert answer.status_code == 422
    assert field in answer.json["errors"], answer.text
