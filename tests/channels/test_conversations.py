"""The conversations of one thread, with steps that a test makes up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pycurl
import pytest

from service.channels.answers import Answer
from service.channels.base import DriverContext
from service.channels.conversations import Conversations, Talk, talk
from service.channels.errors import BlockedError, RetryableError, UncertainError
from service.channels.steps import (
    Call,
    Conversation,
    Form,
    NotAllowedError,
    Pause,
    Request,
    Step,
    get,
    post,
    result,
    upload,
)
from service.channels.workers import Workers
from tests import provider as lies
from tests.provider import Provider
from tests.waiting import LIMIT

WORKERS = Workers("test", 4)


@pytest.fixture
def spoken(context: DriverContext) -> Iterator[Conversations]:
    conversations = Conversations(context)
    yield conversations
    conversations.close()


def message(provider: Provider, name: str = "Hello") -> Request:
    body = f'{{"to":"1","type":"text","text":{{"body":"{name}"}}}}'
    return post(f"{provider.url}/v23.0/106540352242922/messages", body.encode(), ())


def asking(*steps: Step) -> Conversation[list[Any]]:
    """Take steps; return their results, or the errors that came instead."""
    results = []
    for step in steps:
        try:
            results.append((yield step))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results.append(error)
    return results


def first_ended(conversations: Conversations) -> list[Talk]:
    """Wait until something ends."""
    ended: list[Talk] = []
    deadline = time.monotonic() + LIMIT
    while not ended:
        assert time.monotonic() < deadline
        ended = conversations.turn(1.0)
    return ended


def all_ended(conversations: Conversations, count: int = 1) -> dict[Any, Talk]:
    """Wait for the end of so many conversations; return them by their tokens."""
    ended: dict[Any, Talk] = {}
    deadline = time.monotonic() + LIMIT
    while len(ended) < count:
        assert time.monotonic() < deadline, f"nothing but {ended}"
        ended |= {each.token: each for each in conversations.turn(1.0)}
    assert len(conversations) == 0
    return ended


def test_each_step_has_its_result(spoken: Conversations, provider: Provider) -> None:
    steps = (message(provider), Pause(0.01), Call(WORKERS, lambda: "called"))
    spoken.begin("token", asking(*steps))
    assert len(spoken) == 1

    ended = all_ended(spoken)["token"]

    answer, pause, called = ended.result
    assert isinstance(answer, Answer)
    assert (answer.status, pause, called, ended.error) == (200, None, "called", None)


def test_what_needs_no_step_is_over_at_once(spoken: Conversations) -> None:
    spoken.begin("token", result(7))
    (ended,) = spoken.turn(60.0)
    assert (ended.token, ended.result, ended.error) == ("token", 7, None)


def test_what_a_step_fails_of_is_told_to_the_conversation(
    spoken: Conversations, provider: Provider
) -> None:
    provider.then(lies.RESET_AFTER_BODY)

    def fail() -> None:
        raise ValueError("a defect")

    spoken.begin(1, asking(message(provider), Call(WORKERS, fail), Pause(0.0)))

    lost, defect, pause = all_ended(spoken)[1].result
    assert isinstance(lost, UncertainError)
    assert isinstance(defect, ValueError)
    assert pause is None


def test_a_step_that_cannot_begin_is_told_to_the_conversation(
    spoken: Conversations, tmp_path: Path
) -> None:
    form = Form({}, tmp_path / "gone.jpeg", "gone.jpeg", "image/jpeg")
    spoken.begin(1, asking(upload("http://127.0.0.1:1/media", form, ()), Pause(0.0)))

    error, pause = all_ended(spoken)[1].result
    assert isinstance(error, pycurl.error)
    assert pause is None


@pytest.mark.parametrize("error", [RetryableError("Not now."), ZeroDivisionError()])
def test_a_conversation_that_fails_ends_and_no_other(
    spoken: Conversations, error: Exception
) -> None:
    def failing() -> Conversation[str]:
        yield Pause(0.0)
        raise error

    spoken.begin("bad", failing())
    spoken.begin("good", asking(Pause(0.0)))

    ended = all_ended(spoken, 2)
    assert (ended["bad"].result, ended["bad"].error) == (None, error)
    assert ended["good"].result == [None]


def test_hundreds_of_messages_are_under_way_in_one_thread(
    spoken: Conversations, provider: Provider
) -> None:
    provider.choose = lambda _request: lies.late(0.2)
    for number in range(300):
        spoken.begin(number, asking(message(provider, f"m{number}")))
    assert len(spoken) == 300

    ended = all_ended(spoken, 300)

    assert {each.result[0].status for each in ended.values()} == {200}
    said = [each.json["text"]["body"] for each in provider.messages]
    assert sorted(said) == sorted(f"m{number}" for number in range(300))
    seconds = [each.at for each in provider.messages]
    assert max(seconds) - min(seconds) < 300 * 0.2 / 4


def test_pauses_end_in_the_order_of_their_ends(
    spoken: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[float] = []

    def pausing(seconds: float) -> Conversation[None]:
        yield Pause(seconds)
        order.append(seconds)

    began = time.monotonic()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(time, "monotonic", lambda: began)  # they begin together
        for seconds in (0.3, 0.1, 0.2, 0.0):
            spoken.begin(seconds, pausing(seconds))
    all_ended(spoken, 4)

    assert order == [0.0, 0.1, 0.2, 0.3]
    assert time.monotonic() - began >= 0.3


def test_a_call_that_is_over_ends_the_turn_that_waits(
    spoken: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.channels.exchanges._LONGEST_WAIT", 60.0)
    began = time.monotonic()
    spoken.begin(1, asking(Call(WORKERS, lambda: "called")))
    ended: list[Talk] = []
    while not ended:
        ended = spoken.turn(60.0)
    assert ended[0].result == ["called"]
    assert time.monotonic() - began < 30.0


def test_calls_run_in_threads_of_their_own(spoken: Conversations) -> None:
    here = threading.current_thread().name
    both = threading.Barrier(2, timeout=LIMIT)
    for number in range(2):
        spoken.begin(
            number, asking(Call(WORKERS, lambda: (both.wait(), threading.current_thread().name)))
        )

    names = {each.result[0][1] for each in all_ended(spoken, 2).values()}
    assert len(names) == 2
    assert here not in names
    assert all(name.startswith("crier-test") for name in names)


# Steps that must not happen twice


def only(*allowed: str) -> tuple[Callable[[str], bool], list[str]]:
    """Return what allows some tokens, and the list of whom it was asked about."""
    asked: list[str] = []

    def may_begin(token: str) -> bool:
        asked.append(token)
        return token in allowed

    return may_begin, asked


def test_a_step_that_is_not_allowed_does_not_begin(
    context: DriverContext, provider: Provider
) -> None:
    may_begin, asked = only("good")
    conversations = Conversations(context, may_begin)
    for token in ("good", "bad"):
        conversations.begin(token, asking(message(provider, token)))

    ended = all_ended(conversations, 2)
    conversations.close()

    assert ended["good"].result[0].status == 200
    assert isinstance(ended["bad"].result[0], NotAllowedError)
    assert asked == ["good", "bad"]
    assert [each.json["text"]["body"] for each in provider.messages] == ["good"]


def test_nobody_is_asked_about_a_step_that_may_be_repeated(
    context: DriverContext, provider: Provider
) -> None:
    may_begin, asked = only()
    conversations = Conversations(context, may_begin)
    steps = get(f"{provider.url}/x", ()), Pause(0.0), Call(WORKERS, lambda: "called")
    conversations.begin("token", asking(*steps))

    answer, _, called = all_ended(conversations)["token"].result
    conversations.close()

    assert (answer.status, called, asked) == (404, "called", [])


def test_a_conversation_that_does_not_heed_it_ends(context: DriverContext) -> None:
    def stubborn() -> Conversation[str]:
        yield Pause(0.0, once=True)
        return "sent"

    conversations = Conversations(context, lambda _token: False)
    conversations.begin("token", stubborn())
    ended = all_ended(conversations)["token"]
    conversations.close()
    assert isinstance(ended.error, NotAllowedError)


def test_the_pauses_that_may_break_are_broken_at_once(spoken: Conversations) -> None:
    for number in range(3):
        spoken.begin(number, asking(Pause(3600.0, may_break=True)))
    spoken.begin("waits", asking(Pause(0.05)))
    error = NotAllowedError()
    spoken.break_pauses(error)
    ended = all_ended(spoken, 4)
    assert [ended[number].result[0] for number in range(3)] == [error] * 3
    assert ended["waits"].result[0] is None


# One conversation by itself


def test_a_talk_returns_what_its_conversation_returned(
    context: DriverContext, provider: Provider
) -> None:
    (answer,) = talk(asking(message(provider)), context)
    assert answer.status == 200
    assert talk(result("at once"), context) == "at once"


def test_a_talk_raises_what_its_conversation_raised(
    context: DriverContext, provider: Provider
) -> None:
    def sending() -> Conversation[Answer]:
        answer: Answer = yield message(provider)
        return answer

    provider.then(lies.CLOSE_AFTER_BODY)
    with pytest.raises(UncertainError):
        talk(sending(), context)
    assert provider.open_connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "10.1.2.3", "[::1]", "127.1"])
def test_a_proxy_is_not_asked_for_a_private_address(
    host: str, provider: Provider, tmp_path: Path
) -> None:
    with proxied(tmp_path, provider) as spoken:
        spoken.begin(1, asking(get(f"http://{host}:8000/v23.0/1", ())))
        (error,) = all_ended(spoken)[1].result

    assert isinstance(error, BlockedError)
    assert error.code == "address"
    assert provider.connections == 0


def test_a_proxy_is_not_asked_for_a_name_that_leads_to_a_private_address(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []

    def resolve(host: str, *_rest: object, **_named: object) -> list[Any]:
        looked_up.append(host)
        return [(2, 1, 6, "", ("93.184.215.14", 0)), (2, 1, 6, "", ("10.1.2.3", 0))]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    url = "http://inside.example/v23.0/1"
    with proxied(tmp_path, provider) as spoken:
        spoken.begin(1, asking(get(url, ()), get(url, ())))
        errors = all_ended(spoken)[1].result

    assert [type(each) for each in errors] == [BlockedError, BlockedError]
    assert (looked_up, provider.connections) == (["inside.example"], 0)


def test_a_proxy_is_asked_for_names_that_it_alone_knows(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_rest: object, **_named: object) -> list[Any]:
        raise socket.gaierror

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    begun: list[int] = []

    def may_begin(token: int) -> bool:
        begun.append(token)
        return True

    with proxied(tmp_path, provider, may_begin) as spoken:
        spoken.begin(1, asking(post("http://graph.example/hook", b"{}", ())))
        (answer,) = all_ended(spoken)[1].result

    assert isinstance(answer, Answer)
    assert provider.requests[0].headers["host"] == "graph.example"
    assert begun == [1]


def test_a_name_that_nobody_answers_for_keeps_no_other_conversation_waiting(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def resolve(host: str, *_rest: object, **_named: object) -> list[Any]:
        assert host != "slow.example" or answered.wait(LIMIT)
        return [(2, 1, 6, "", ("93.184.215.14", 0))]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    with proxied(tmp_path, provider) as spoken:
        spoken.begin("slow", asking(get("http://slow.example/v23.0/1", ())))
        spoken.begin("quick", asking(get("http://quick.example/v23.0/1", ())))
        (quick,) = first_ended(spoken)
        answered.set()
        (slow,) = first_ended(spoken)

    assert (quick.token, slow.token) == ("quick", "slow")


@contextmanager
def proxied(
    folder: Path, proxy: Provider, may_begin: Callable[[Any], bool] = lambda _token: True
) -> Iterator[Conversations]:
    """Give conversations that a proxy carries, where private addresses are not allowed."""
    conversations = Conversations(DriverContext(folder, proxy=proxy.url), may_begin)
    yield conversations
    conversations.close()
