"""Several messages at once to a provider on the loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.channels import answers, connections
from service.channels.answers import Answer, Weather
from service.channels.base import BlockedError, RetryableError, Surroundings, UncertainError
from service.channels.bundles import Bundle
from service.channels.http import Client
from tests import provider as lies
from tests.provider import Fault, Provider, Reply

HEADERS = ("Content-Type: application/json", "Authorization: Bearer EAAG-token")


@pytest.fixture(autouse=True)
def _soon_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "CALM", 2)


@pytest.fixture
def url(provider: Provider) -> str:
    return f"{provider.url}/v23.0/106540352242922/messages"


@pytest.fixture
def client(surroundings: Surroundings, provider: Provider, url: str) -> Client:
    """Return a client of which the provider has taken some messages."""
    client = Client(replace(surroundings, send_timeout=1.0), guarded=False)
    for body in bodies("first", 2):
        client.post(url, body, HEADERS)
    provider.requests.clear()
    return client


def bodies(name: str, count: int) -> list[bytes]:
    wanted = '{{"to":"2348179803743","type":"text","biz_opaque_callback_data":"{}"}}'
    return [wanted.format(f"{name}-{number}").encode() for number in range(count)]


def at_once(client: Client, url: str, sent: list[bytes]) -> list[Answer | Exception]:
    return list(client.post_all(url, sent, HEADERS))


def statuses(results: list[Answer | Exception]) -> list[object]:
    """Return the status of each answer, and the class of what went wrong."""
    return [each.status if isinstance(each, Answer) else type(each) for each in results]


def references(provider: Provider) -> list[str]:
    return [each.json["biz_opaque_callback_data"] for each in provider.messages]


def test_it_is_calm_after_many_good_answers_until_one_that_is_not(
    client: Client, provider: Provider, url: str
) -> None:
    provider.then(None, lies.instead(429, b"slow down", Retry_After="7"), None, None)
    states = []
    for body in bodies("a", 4):
        states.append(client.is_calm)
        client.post(url, body, HEADERS)
    assert (states, client.is_calm) == ([True, True, False, False], True)


def test_each_message_has_the_answer_that_it_was_given(
    client: Client, provider: Provider, url: str
) -> None:
    provider.then(lies.late(0.1), None, lies.late(0.05), None)
    results = at_once(client, url, bodies("a", 4))
    told = {each.reference: each.message_id for each in provider.taken}
    ids = [told[f"a-{number}"].encode() for number in range(4)]
    assert [
        own in each.body
        for own, each in zip(ids, results, strict=True)
        if isinstance(each, Answer)
    ] == [True] * 4  # fmt: skip


def test_all_are_under_way_at_the_same_time(client: Client, provider: Provider, url: str) -> None:
    waiting: list[Callable[[], None]] = []

    def act(to: Any, usual: Reply) -> None:
        """Answer nobody before all have asked."""
        waiting.append(lambda: to.say(bytes(usual)))
        if len(waiting) == 8:
            for answer in waiting:
                answer()

    provider.choose = lambda _request: Fault(act, takes=True)
    assert statuses(at_once(client, url, bodies("b", 8))) == [200] * 8


def test_connections_are_kept_for_the_next_time(
    client: Client, provider: Provider, url: str
) -> None:
    before = provider.connections
    for size in (5, 3, 5, 4):
        assert statuses(at_once(client, url, bodies("a", size))) == [200] * size
    assert provider.connections - before == 5


def test_connections_that_the_provider_closed_meanwhile_cost_nothing(
    client: Client, provider: Provider, url: str
) -> None:
    at_once(client, url, bodies("a", 4))
    provider.hang_up()
    assert statuses(at_once(client, url, bodies("b", 4))) == [200] * 4
    assert sorted(references(provider)[4:]) == [f"b-{number}" for number in range(4)]


@pytest.mark.parametrize(
    "fault", [lies.instead(200, b"{}", Connection="close"), lies.ANSWER_AND_CLOSE]
)
def test_a_connection_closed_behind_an_answer_costs_nothing(
    client: Client, provider: Provider, url: str, fault: Fault
) -> None:
    for turn in range(6):
        provider.then(None, fault, None)
        assert statuses(at_once(client, url, bodies(f"{turn}", 4))) == [200] * 4
        if fault is lies.ANSWER_AND_CLOSE:
            provider.hang_up()  # or the closing could still be on its way
    assert sorted(references(provider)) == [
        f"{turn}-{number}" for turn in range(6) for number in range(4)
    ]


def test_a_message_is_not_repeated_on_a_connection_that_was_left_behind(
    client: Client, provider: Provider, url: str
) -> None:
    """A provider that ends its side may read on: libcurl would send there first, and then anew."""
    ended = threading.Event()

    def end_its_side(to: Any, usual: lies.Reply) -> None:
        to.say(bytes(usual))
        to._transport.write_eof()  # noqa: SLF001 - of a provider's kinds of trouble only this does
        ended.set()

    provider.then(Fault(end_its_side, takes=True))
    first = at_once(client, url, bodies("a", 1))
    assert ended.wait(5)
    provider.then(None, lies.CLOSE_AFTER_BODY)
    results = [at_once(client, url, bodies(name, 1))[0] for name in "bc"]
    assert statuses([*first, *results]) == [200, 200, UncertainError]
    assert references(provider) == ["a-0", "b-0", "c-0"]


@pytest.mark.parametrize("several", [True, False])
def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    client: Client, provider: Provider, url: str, *, several: bool
) -> None:
    came = threading.Event()

    def twice(to: Any, usual: lies.Reply) -> None:
        to.say(bytes(usual))
        asyncio.get_running_loop().call_later(0.01, again, to)

    def again(to: Any) -> None:
        to.say(bytes(lies.Reply(200, {"messages": [{"id": "wamid.forged"}]})))
        came.set()

    def send(name: str) -> Answer | Exception:
        (body,) = bodies(name, 1)
        return at_once(client, url, [body])[0] if several else client.post(url, body, HEADERS)

    provider.then(Fault(twice, takes=True))
    send("a")
    assert came.wait(5)
    result = send("b")
    assert isinstance(result, Answer)
    assert provider.taken[-1].message_id.encode() in result.body
    assert references(provider) == ["a-0", "b-0"]


def test_messages_that_need_another_connection_do_not_wait_for_slow_ones(
    client: Client, provider: Provider, url: str
) -> None:
    held: list[Callable[[], None]] = []

    def hold(to: Any, usual: lies.Reply) -> None:
        held.append(lambda: to.say(bytes(usual)))

    def let_go(to: Any, usual: lies.Reply) -> None:
        to.say(bytes(usual))
        held.pop()()

    met = {
        "a-1": lies.instead(200, b"{}", Connection="close"),
        "b-0": Fault(hold, takes=True),
        "b-1": Fault(let_go, takes=True),
    }
    provider.choose = lambda request: met.get(request.json["biz_opaque_callback_data"])
    assert statuses(at_once(client, url, bodies("a", 2))) == [200, 200]
    assert statuses(at_once(client, url, bodies("b", 2))) == [200, 200]
    assert references(provider) == ["a-0", "a-1", "b-0", "b-1"]


def test_a_connection_that_was_closed_while_a_slow_one_was_waited_for_costs_nothing(
    client: Client, provider: Provider, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_PROVEN", 1)
    met = {"a-0": lies.late(0.1), "a-1": lies.ANSWER_AND_CLOSE}
    provider.choose = lambda request: met.get(request.json["biz_opaque_callback_data"])
    for turn in "bcd":
        assert statuses(at_once(client, url, bodies("a", 2))) == [200, 200]
        assert statuses(at_once(client, url, bodies(turn, 2))) == [200, 200]


@pytest.mark.parametrize(
    "fault",
    [
        lies.RESET_AFTER_BODY,
        lies.CLOSE_AFTER_BODY,
        lies.HALF_AN_ANSWER,
        lies.GARBAGE,
        lies.HUGE_ANSWER,
        lies.SILENCE,
        lies.DRIP,
    ],
)
def test_what_breaks_under_one_message_is_uncertain_for_that_one_alone(
    client: Client, provider: Provider, url: str, fault: Fault
) -> None:
    # Kept connections: on these libcurl would send a message again by itself.
    at_once(client, url, bodies("a", 4))
    met: list[str] = []

    def choose(request: lies.Request) -> Fault | None:
        reference = request.json["biz_opaque_callback_data"]
        met.append(reference)
        return fault if reference == "b-2" else None

    provider.choose = choose
    results = at_once(client, url, bodies("b", 4))
    assert statuses(results) == [200, 200, UncertainError, 200]
    assert sorted(met) == [f"b-{number}" for number in range(4)]


def test_after_a_refusal_or_trouble_it_is_not_calm(
    client: Client, provider: Provider, url: str
) -> None:
    refused = lies.instead(429, b"slow down", Retry_After="7")
    states = []
    for met, wanted in ((refused, {"200", "429"}), (None, {"200"}), (lies.CLOSE_AFTER_BODY, None)):
        provider.then(None, met)
        results = at_once(client, url, bodies("a", 2))
        assert wanted is None or set(map(str, statuses(results))) == wanted
        assert (met is refused) == any(isinstance(e, Answer) and e.wait == 7 for e in results)
        states.append(client.is_calm)
    assert states == [False, True, False]


def test_messages_of_which_not_all_left_may_be_sent_again(
    client: Client, provider: Provider, url: str
) -> None:
    at_once(client, url, bodies("a", 3))
    large = [body.ljust(20_000_000) for body in bodies("b", 3)]
    provider.then(*[lies.RESET_BEFORE_BODY] * 3)
    assert statuses(at_once(client, url, large)) == [RetryableError] * 3
    assert len(provider.messages) == 3


def test_a_provider_that_is_gone_is_tried_later(client: Client) -> None:
    results = at_once(client, "http://127.0.0.1:1/messages", bodies("a", 3))
    assert statuses(results) == [RetryableError] * 3


def test_a_private_address_is_refused_at_the_moment_of_connecting(
    provider: Provider, surroundings: Surroundings, url: str
) -> None:
    bundle = Bundle(surroundings, Weather(), guarded=True)
    results = bundle.post(url, bodies("a", 3), HEADERS)
    assert statuses(list(results)) == [BlockedError] * 3
    assert provider.connections == 0
