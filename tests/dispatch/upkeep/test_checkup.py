"""The checkup: checks periodically whether blocked sessions can send again."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from service.channels.errors import BlockedError
from service.core import holding
from service.database import now_ms
from service.dispatch.upkeep.checkup import Checkup
from service.models import SessionStatus
from tests.probe import Stage
from tests.provider import Provider, once
from tests.waiting import LIMIT, until
from tests.world import ADA, World


def blocked(world: World, channel: str = "probe", **fields: Any) -> str:
    session_id = world.session(channel, **fields)
    world.ready([ADA], session_id=session_id)
    with world.database.writing() as db:
        holding.hold_session(db, session_id, "Unpaid.", until=None, now=now_ms())
    return session_id


def test_a_session_that_was_mended_goes_on_by_itself(world: World, stage: Stage) -> None:
    woken: list[bool] = []
    now = 0.0
    checkup = Checkup(
        world.settings, world.database, world.accounts, lambda: woken.append(True), lambda: now
    )
    session_id = blocked(world)

    def refuse() -> None:
        raise BlockedError("Still unpaid.")

    stage.check = refuse
    assert 0 < checkup.turn() <= world.settings.check_interval
    session = world.get_session(session_id)
    assert (session.status, session.reason) == (SessionStatus.BLOCKED, "Still unpaid.")
    assert woken == []

    stage.check = lambda: None
    assert checkup.turn() == world.settings.check_interval
    assert woken == []
    now = world.settings.check_interval
    checkup.turn()
    assert world.get_session(session_id).status == SessionStatus.READY
    assert woken == [True]
    now *= 2
    checkup.turn()
    assert len(stage.opened) == 2 + 1  # one to plan the broadcast; nobody asks a ready session


def test_one_session_that_makes_trouble_keeps_no_other_waiting(world: World, stage: Stage) -> None:
    checkup = Checkup(world.settings, world.database, world.accounts, lambda: None)
    first, second = blocked(world), blocked(world)
    answers = iter([KeyError("a defect"), None])

    def check() -> None:
        if error := next(answers):
            raise error

    stage.check = check
    checkup.turn()
    statuses = {world.get_session(each).status for each in (first, second)}
    assert statuses == {SessionStatus.BLOCKED, SessionStatus.READY}


def test_a_session_that_is_blocked_again_is_released_more_and_more_seldom(
    world: World, stage: Stage
) -> None:
    now, interval = 0.0, world.settings.check_interval
    checkup = Checkup(world.settings, world.database, world.accounts, lambda: None, lambda: now)
    session_id = blocked(world)
    stage.check = lambda: None
    released = []
    for turn in range(12):
        now = turn * interval
        checkup.turn()
        if world.get_session(session_id).status == SessionStatus.READY:
            released.append(turn)
            with world.database.writing() as db:
                holding.hold_session(db, session_id, "Unpaid.", until=None, now=now_ms())
    assert released == [0, 1, 3, 7]


def test_providers_that_do_not_answer_keep_no_other_one_waiting(world: World, stage: Stage) -> None:
    """And they are not asked twice at the same time."""
    del stage
    patient = world.with_settings(check_timeout=LIMIT, private_addresses=True)
    now = 0.0
    checkup = Checkup(patient.settings, world.database, patient.accounts, lambda: None, lambda: now)
    answers = threading.Event()
    with Provider() as provider:
        provider.session_status = "STOPPED"
        provider.choose = lambda _request: once(answers.is_set)
        keys = [f"key-{number}" for number in range(20)]
        silent = [
            blocked(patient, "waha", settings={"base_url": provider.url, "api_key": key})
            for key in keys
        ]
        healthy = blocked(world.neighbour())

        def are_asked() -> bool:
            checkup.turn()
            return len(provider.requests) == len(keys)

        until(are_asked)
        assert world.get_session(healthy).status == SessionStatus.READY
        now = world.settings.check_interval
        assert checkup.turn() == 0.0, "all are under way, and due again"
        answers.set()
        until(checkup.turn)
        asked = Counter(request.headers["x-api-key"] for request in provider.requests)
        assert asked == dict.fromkeys(keys, 1)
        assert {world.get_session(each).status for each in silent} == {SessionStatus.BLOCKED}
    checkup.close()
