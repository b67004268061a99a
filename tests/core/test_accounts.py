"""Sessions as drivers see them."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial

import pytest
from cryptography.fernet import Fernet

from service.channels.content import Text
from service.channels.drivers.sandbox import Sandbox
from service.channels.errors import BlockedError, RetryableError
from service.channels.registry import UnknownChannelError
from service.channels.steps import Call, Conversation, Pause, result
from service.core.accounts import Accounts, driver_context
from service.core.vault import SealedError, Vault
from service.dispatch.sending.uploads import StoredMediaIds
from service.errors import TooManyQuestionsError
from service.models import Broadcast
from tests.probe import WORKERS, Stage
from tests.provider import SILENCE, Provider
from tests.world import ADA, World

SECRETS = {"base_url": "https://waha.example", "api_key": "waha-key"}


def test_a_driver_is_opened_with_its_sessions_settings(world: World, stage: Stage) -> None:
    session_id = world.session("probe")
    stage.opened.clear()
    world.accounts.open(world.get_session(session_id))
    (account,) = stage.opened
    assert account.session_id == session_id


def test_secrets_are_encrypted_at_rest_and_open_for_the_driver(world: World) -> None:
    session = world.get_session(world.session("waha", settings=SECRETS))
    assert "waha-key" not in f"{session.settings}{session.secrets}"
    opened = world.accounts.settings_of(session)
    assert opened["api_key"] == "waha-key"
    assert opened["base_url"] == "https://waha.example"


def test_a_session_whose_key_is_lost_cannot_be_opened(world: World) -> None:
    session = world.get_session(world.session("waha", settings=SECRETS))
    settings = replace(world.settings, secret_key=Fernet.generate_key().decode())
    accounts = Accounts(settings, Vault(settings), partial(StoredMediaIds, world.database))
    with pytest.raises(SealedError):
        accounts.open(session)


def test_a_channel_that_is_not_there_any_more_cannot_be_opened(world: World) -> None:
    session = world.get_session(world.session())
    session.channel = "pigeon"
    with pytest.raises(UnknownChannelError):
        world.accounts.open(session)


def test_the_sandbox_needs_no_settings(world: World) -> None:
    driver = world.accounts.open(world.get_session(world.session()))
    assert isinstance(driver, Sandbox)
    assert world.accounts.ask(driver.may_repeat(Text("Hello")))


def test_what_a_broadcast_says_is_ready_for_its_driver(world: World) -> None:
    world.session()
    broadcast_id = world.broadcast([ADA], "Hello")
    with world.database.reading() as db:
        assert world.accounts.restored(db.get_one(Broadcast, broadcast_id).content).text == "Hello"


def test_drivers_see_of_the_settings_what_concerns_them(world: World) -> None:
    settings = replace(
        world.settings, connect_timeout=1.0, send_timeout=2.0, outgoing_proxy="http://proxy:3128"
    )
    seen = driver_context(settings)
    assert seen.sandbox_store == settings.sandbox_store
    assert (seen.connect_timeout, seen.send_timeout) == (1.0, 2.0)
    assert seen.proxy == "http://proxy:3128"
    assert not seen.private_addresses


@pytest.mark.parametrize(("usual", "expected"), [(30.0, 0.2), (0.1, 0.1)])
def test_a_question_is_given_less_time_than_a_message(
    world: World, usual: float, expected: float
) -> None:
    accounts = world.with_settings(
        check_timeout=0.2, send_timeout=usual, private_addresses=True
    ).accounts
    with Provider() as provider:
        provider.choose = lambda _request: SILENCE
        settings = {**SECRETS, "base_url": provider.url}
        driver = accounts.open(world.get_session(world.session("waha", settings=settings)))
        with pytest.raises(RetryableError, match=f"within {expected:g} seconds"):
            accounts.ask(driver.check())


def test_a_question_is_answered_or_raises_what_its_driver_raises(world: World) -> None:
    def asking(error: Exception | None) -> Conversation[str]:
        yield Pause(0.0)
        if error:
            raise error
        return "yes"

    assert world.accounts.ask(asking(None)) == "yes"
    with pytest.raises(BlockedError):
        world.accounts.ask(asking(BlockedError("Logged out.")))


def test_questions_of_requests_leave_threads_to_other_requests(world: World) -> None:
    """And a client's questions leave some to another one's, however long they take."""
    opened, begun = threading.Event(), threading.Semaphore(0)

    def wait() -> str:
        begun.release()
        assert opened.wait(60.0)
        return "answer"

    def silence() -> Conversation[str]:
        answer: str = yield Call(WORKERS, wait)
        return answer

    ask = world.accounts.ask_for
    with ThreadPoolExecutor(12) as threads:
        asked = [threads.submit(ask, "silent", silence()) for _ in range(12)]
        refused = list(itertools.islice(as_completed(asked, 60.0), 10))
        assert {type(each.exception()) for each in refused} == {TooManyQuestionsError}
        assert ask("other", result("at once")) == "at once"
        more = [threads.submit(ask, name, silence()) for name in ("other", "third")]
        assert all(begun.acquire(timeout=60.0) for _ in range(4))
        with pytest.raises(TooManyQuestionsError):
            ask("fourth", result("at once"))
        opened.set()
        assert [each.result(60.0) for each in {*asked, *more} - {*refused}] == ["answer"] * 4
    assert ask("silent", result("again")) == "again"
