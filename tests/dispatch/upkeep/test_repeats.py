"""Whether what a dead process was sending may be offered again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.channels.content import Part, Text
from service.channels.errors import RetryableError
from service.database import now_ms
from service.dispatch.upkeep.sweep import Sweep
from tests.probe import Stage
from tests.provider import SILENCE, Provider
from tests.waiting import until
from tests.world import ADA, GRACE, World

MESSAGES: list[tuple[dict[str, Any], bool, str]] = [
    ({"text": "Hello"}, True, "queued"),
    ({"text": "Hello", "location": {"lat": "6.5", "lng": "3.2"}}, True, "queued"),
    ({"text": "Hello"}, False, "uncertain"),
]


def sweep(world: World) -> float:
    return Sweep(world.settings, world.database, world.accounts, lambda: None).turn()


def left_behind(world: World, says: str, *taken: str, **order: Any) -> str:
    """Return a broadcast that a process was sending when it died: so many parts were `taken`."""
    people = [ADA, GRACE][: len(taken)]
    broadcast_id = world.ready(people, says, **order)
    for recipient, message_ids in zip(people, taken, strict=True):
        world.tell(
            "UPDATE deliveries SET message_ids = :ids"
            " WHERE broadcast_id = :id AND recipient = :recipient",
            ids=message_ids or None,
            id=broadcast_id,
            recipient=recipient,
        )
    dead = world.claim(broadcast_id)
    world.tell("DELETE FROM dispatchers WHERE id = :id", id=dead.id)
    return broadcast_id


def complaints(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in lines if line["event"] == "a repeat cannot be judged"]


def may_repeat_all_but_files(part: Part) -> bool:
    """Stand for a channel whose files get an id of the provider's own."""
    return isinstance(part, Text) and not part.body.startswith("file")


@pytest.mark.parametrize(
    ("says", "taken", "expected"),
    [
        ("words words", [""], "queued"),
        ("words file", [""], "uncertain"),
        ("file words", [""], "uncertain"),
        ("file words", ["id-0"], "queued"),
        ("file words", ["!id-0 id-1"], "uncertain"),
        ("file words", ["id-0", "id-9"], "queued"),
        ("file words", ["id-0", ""], "uncertain"),
    ],
)
def test_the_parts_that_were_still_to_be_sent_decide(
    world: World, stage: Stage, says: str, taken: list[str], expected: str
) -> None:
    stage.may_repeat = may_repeat_all_but_files
    world.session("probe")
    broadcast_id = left_behind(world, says, *taken)
    sweep(world)
    assert world.statuses(broadcast_id) == {expected: len(taken)}


def test_a_provider_that_cannot_be_asked_makes_it_uncertain_and_is_named_once(
    world: World, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Part] = []

    def refuse(part: Part) -> bool:
        asked.append(part)
        if part == Text("lost"):
            raise RetryableError("The provider was not reached.")
        return True

    stage.may_repeat = refuse
    silent, healthy = world.session("probe"), world.session("probe")
    lost = [left_behind(world, "lost", "", session_id=silent) for _ in range(3)]
    fine = left_behind(world, "found", "", session_id=healthy)
    capsys.readouterr()
    sweep(world)
    assert [world.statuses(each) for each in lost] == [{"uncertain": 1}] * 3
    assert world.statuses(fine) == {"queued": 1}
    assert asked.count(Text("lost")) == 1
    (complaint,) = complaints(capsys)
    assert (complaint["session_id"], complaint["reason"]) == (
        silent,
        "The provider was not reached.",
    )
    sweep(world)
    assert complaints(capsys) == []


def test_a_defect_of_a_driver_is_told_with_its_traceback_once(
    world: World, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_part: Part) -> bool:
        raise ValueError("a defect")

    stage.may_repeat = fail
    world.session("probe")
    ids = [left_behind(world, "lost", "") for _ in range(2)]
    capsys.readouterr()
    assert sweep(world) == world.settings.sweep_interval
    assert [world.statuses(each) for each in ids] == [{"uncertain": 1}] * 2
    (complaint,) = complaints(capsys)
    assert "ValueError: a defect" in complaint["exception"]


def test_a_turn_that_took_long_leaves_the_rest_to_the_next_one_which_follows_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dispatch.upkeep.sweep._RESCUE_TIME", 0.0)
    world.session()
    ids = [left_behind(world, "Hello", "") for _ in range(2)]
    assert sweep(world) == 0.0
    assert sorted(str(world.statuses(each)) for each in ids) == ["{'queued': 1}", "{'sending': 1}"]
    assert sweep(world) == world.settings.sweep_interval
    assert [world.statuses(each) for each in ids] == [{"queued": 1}] * 2


@pytest.mark.parametrize(("message", "takes_ids", "expected"), MESSAGES)
def test_what_waha_has_an_id_of_ours_for_is_sent_again(
    world: World,
    message: dict[str, Any],
    takes_ids: bool,  # noqa: FBT001 - pytest passes it by name
    expected: str,
) -> None:
    with Provider() as provider:
        provider.engine_takes_ids = takes_ids
        world = world.with_settings(private_addresses=True)
        world.session("waha", settings={"base_url": provider.url, "api_key": "waha-key"})
        broadcast_id = left_behind(world, "", "", message=message)
        sweep(world)
    assert world.statuses(broadcast_id) == {expected: 1}


def test_a_waha_that_hangs_keeps_the_sweep_from_nothing_else(world: World) -> None:
    now = now_ms()
    with Provider() as provider:
        provider.choose = lambda _request: SILENCE
        world = world.with_settings(private_addresses=True, check_timeout=1.0)
        world.session("waha", settings={"base_url": provider.url, "api_key": "waha-key"})
        ids = [left_behind(world, "Hello", "") for _ in range(3)]
        expired = world.ready([ADA], now=now - 7_200_000, expires_at=now - 3_600_000)
        sweep(world)
        until(lambda: provider.requests)
        assert len(provider.requests) == 1
    assert [world.statuses(each) for each in ids] == [{"uncertain": 1}] * 3
    assert world.statuses(expired) == {"failed": 1}
