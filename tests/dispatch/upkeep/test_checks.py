"""Checks with the provider whether a session can send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from cryptography.fernet import Fernet

from service.channels.errors import BlockedError, PermanentError, RetryableError, SendError
from service.core import holding
from service.core.accounts import Accounts
from service.core.vault import Vault
from service.database import now_ms
from service.dispatch.sending.uploads import StoredMediaIds
from service.dispatch.upkeep import checks
from service.models import Session, SessionStatus
from tests.probe import Stage
from tests.provider import SILENCE, Provider
from tests.world import ADA, World

HOUR = 3_600_000


def check(world: World, session_id: str) -> str | None:
    return checks.check(world.accounts, world.database, world.get_session(session_id))


def hold(world: World, session_id: str, reason: str = "Unpaid.", until: int | None = None) -> None:
    with world.database.writing() as db:
        holding.hold_session(db, session_id, reason, until=until, now=now_ms())


def state(world: World, session_id: str) -> tuple[str, str | None, int | None]:
    session = world.get_session(session_id)
    return session.status, session.reason, session.throttled_until


def failing(error: Exception) -> Callable[[], None]:
    def check() -> None:
        raise error

    return check


READY = (SessionStatus.READY, None, None)
BLOCKED = SessionStatus.BLOCKED


def test_a_session_that_can_send_has_no_problem(world: World, stage: Stage) -> None:
    del stage
    session_id = world.session("probe")
    assert check(world, session_id) is None
    assert state(world, session_id) == READY


def test_a_session_that_cannot_send_is_held_until_it_can(world: World, stage: Stage) -> None:
    session_id = world.session("probe")
    stage.check = failing(BlockedError("The token has expired."))
    assert check(world, session_id) == "The token has expired."
    assert state(world, session_id) == (SessionStatus.BLOCKED, "The token has expired.", None)
    stage.check = lambda: None
    assert check(world, session_id) is None
    assert state(world, session_id) == READY


def test_a_session_that_can_send_soon_is_held_for_so_long(world: World, stage: Stage) -> None:
    session_id = world.session("probe")
    hold(world, session_id)
    stage.check = failing(BlockedError("Starting.", wait=10.0))
    before = now_ms()
    assert check(world, session_id) == "Starting."
    status, reason, until = state(world, session_id)
    assert (status, reason) == (SessionStatus.THROTTLED, "Starting.")
    assert before + 10_000 <= (until or 0) <= now_ms() + 10_000


def test_a_throttled_session_waits_for_its_end_though_the_check_succeeds(
    world: World, stage: Stage
) -> None:
    """A number can be looked at while it must not send."""
    del stage
    session_id = world.session("probe")
    until = now_ms() + HOUR
    hold(world, session_id, "Too fast.", until)
    assert check(world, session_id) is None
    assert state(world, session_id) == (SessionStatus.THROTTLED, "Too fast.", until)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RetryableError("The provider was not reached."), "not reached"),
        (PermanentError("Who is this?"), "Who is this"),
        (SendError("Something else."), "Something else"),
        (KeyError("a secret"), "internal error (KeyError)"),
    ],
)
def test_what_tells_nothing_about_the_session_leaves_it_as_it_is(
    world: World, stage: Stage, error: Exception, words: str
) -> None:
    ready, held = world.session("probe"), world.session("probe")
    hold(world, held)
    stage.check = failing(error)
    for session_id, before in ((ready, READY), (held, (SessionStatus.BLOCKED, "Unpaid.", None))):
        said = check(world, session_id) or ""
        assert words in said
        assert "secret" not in said
        assert state(world, session_id) == before


def test_a_session_that_cannot_even_be_opened_is_told_so(world: World, stage: Stage) -> None:
    def refuse(_account: object) -> None:
        raise RuntimeError

    session_id = world.session("probe")
    stage.open = refuse
    assert "RuntimeError" in (check(world, session_id) or "")


def test_a_provider_that_does_not_answer_in_time_has_said_nothing(world: World) -> None:
    hasty = world.with_settings(check_timeout=0.2, private_addresses=True)
    with Provider() as provider:
        provider.choose = lambda _request: SILENCE
        settings = {"base_url": provider.url, "api_key": "waha-key"}
        ready, held = (hasty.session("waha", settings=settings) for _ in range(2))
        hold(world, held)
        for session_id, before in ((ready, READY), (held, (BLOCKED, "Unpaid.", None))):
            said = check(hasty, session_id) or ""
            assert said.startswith("The provider did not answer within 0.2 seconds: ")
            assert said.endswith("so its status stays the same.")
            assert state(world, session_id) == before


def test_only_blocked_sessions_are_asked_for_which_broadcasts_wait(
    world: World, stage: Stage
) -> None:
    del stage
    awaited, idle, throttled, ready = (world.session("probe") for _ in range(4))
    for session_id in (awaited, throttled, ready):
        world.ready([ADA], session_id=session_id)
    for session_id in (awaited, idle):
        hold(world, session_id)
    hold(world, throttled, until=now_ms() + HOUR)
    with world.database.reading() as db:
        assert [session.id for session in holding.blocked(db)] == [awaited]


def test_no_transaction_is_open_while_the_provider_is_asked(world: World, stage: Stage) -> None:
    session_id = world.session("probe")

    def look() -> None:
        with world.database.writing() as db:
            db.get_one(Session, session_id).name = "renamed meanwhile"

    stage.check = look
    assert check(world, session_id) is None
    assert world.get_session(session_id).name == "renamed meanwhile"


def test_of_several_holds_the_longest_counts(world: World, stage: Stage) -> None:
    del stage
    session_id = world.session("probe")
    now = now_ms()
    hold(world, session_id, "A minute.", now + 60_000)
    hold(world, session_id, "A second.", now + 1_000)
    assert state(world, session_id) == (SessionStatus.THROTTLED, "A minute.", now + 60_000)
    hold(world, session_id, "An hour.", now + HOUR)
    assert state(world, session_id) == (SessionStatus.THROTTLED, "An hour.", now + HOUR)
    hold(world, session_id, "Logged out.")
    hold(world, session_id, "Too fast.", now + 2 * HOUR)
    assert state(world, session_id) == (SessionStatus.BLOCKED, "Logged out.", None)


def test_credentials_whose_key_is_gone_are_told_as_such(world: World) -> None:
    account = {"phone_number_id": "106540352242922", "access_token": "EAAG-token"}
    session_id = world.session("whatsapp_cloud", settings=account)
    settings = replace(world.settings, secret_key=Fernet.generate_key().decode())
    others = Accounts(settings, Vault(settings), partial(StoredMediaIds, world.database))
    problem = checks.check(others, world.database, world.get_session(session_id))
    assert problem is not None
    assert "The key that encrypted this session's credentials is missing" in problem
