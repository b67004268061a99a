"""The checkup: checks periodically whether blocked sessions can send again."""

from __future__ import annotations

from service.channels.errors import BlockedError
from service.core import holding
from service.database import now_ms
from service.dispatch.upkeep.checkup import Checkup
from service.models import SessionStatus
from tests.probe import Stage
from tests.world import ADA, World


def blocked(world: World) -> str:
    session_id = world.session("probe")
    world.ready([ADA], session_id=session_id)
    with world.database.writing() as db:
        holding.hold_session(db, session_id, "Unpaid.", until=None, now=now_ms())
    return session_id


def test_a_session_that_was_mended_goes_on_by_itself(world: World, stage: Stage) -> None:
    woken: list[bool] = []
    checkup = Checkup(world.settings, world.database, world.accounts, lambda: woken.append(True))
    session_id = blocked(world)

    def refuse() -> None:
        raise BlockedError("Still unpaid.")

    stage.check = refuse
    assert checkup.turn() == world.settings.check_interval
    session = world.get_session(session_id)
    assert (session.status, session.reason) == (SessionStatus.BLOCKED, "Still unpaid.")
    assert woken == []

    stage.check = lambda: None
    checkup.turn()
    assert world.get_session(session_id).status == SessionStatus.READY
    assert woken == [True]
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
