"""HTTP exchanges, many at once in one thread, with a provider on the loopback."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pycurl
import pytest

from service.channels import answers, connections, exchanges, transfers
from service.channels.answers import Answer
from service.channels.base import DriverContext
from service.channels.connections import Connection
from service.channels.errors import BlockedError, RetryableError, SendError, UncertainError
from service.channels.exchanges import Exchanges
from service.channels.steps import Form, Method, Request, get, post, upload
from tests import provider as lies
from tests.provider import Fault, Provider, Reply
from tests.waiting import LIMIT, until

HEADERS = ("Content-Type: application/json", "Authorization: Bearer EAAG-token")
MESSAGE = b'{"to":"2348179803743","type":"text","text":{"body":"Hello"}}'


class Line:
    """The exchanges of one thread, used by hand."""

    def __init__(self, context: DriverContext) -> None:
        self.exchanges = Exchanges(context)

    def ask(self, *requests: Request) -> list[Answer | SendError]:
        """Make requests at once; return what came of each, in their order."""
        for number, request in enumerate(requests):
            self.exchanges.begin(request, number)
        ended: dict[int, Answer | SendError] = {}
        deadline = time.monotonic() + LIMIT
        while len(ended) < len(requests):
            assert time.monotonic() < deadline, f"nothing but {ended}"
            ended |= dict(self.exchanges.turn(1.0))
        return [ended[number] for number in range(len(requests))]

    def answer(self, request: Request) -> Answer:
        """Make a request; return its answer, or raise what it failed of."""
        (came,) = self.ask(request)
        if isinstance(came, SendError):
            raise came
        return came


@contextmanager
def line_with(context: DriverContext, **changes: Any) -> Iterator[Line]:
    """Give exchanges with another context."""
    line = Line(replace(context, **changes))
    yield line
    line.exchanges.close()


@pytest.fixture
def line(context: DriverContext) -> Iterator[Line]:
    with line_with(context) as line:
        yield line


@pytest.fixture
def hasty(context: DriverContext) -> Iterator[Line]:
    with line_with(context, send_timeout=1.0) as line:
        yield line


@pytest.fixture
def url(provider: Provider) -> str:
    return f"{provider.url}/v23.0/106540352242922/messages"


@pytest.fixture
def message(url: str) -> Request:
    return post(url, MESSAGE, HEADERS)


def named(url: str, name: str, count: int, size: int = 0) -> list[Request]:
    """Return messages with the references `name-0`, `name-1` and so on."""
    body = '{{"to":"2348179803743","type":"text","biz_opaque_callback_data":"{}-{}"}}'
    return [
        post(url, body.format(name, number).encode().ljust(size), HEADERS)
        for number in range(count)
    ]


def statuses(results: list[Answer | SendError]) -> list[object]:
    """Return the status of each answer, and the class of what went wrong."""
    return [each.status if isinstance(each, Answer) else type(each) for each in results]


def references(provider: Provider) -> list[str]:
    return [each.json["biz_opaque_callback_data"] for each in provider.messages]


def meeting(met: dict[str, Fault]) -> Callable[[lies.Request], Fault | None]:
    """Let messages meet faults by their references."""
    return lambda request: met.get(request.json["biz_opaque_callback_data"])


# Answers


def test_an_answer_has_its_status_body_and_headers(
    line: Line, provider: Provider, message: Request
) -> None:
    provider.then(lies.instead(429, b"slow down", Retry_After="7", X_Odd="yes"))

    answer = line.answer(message)

    assert (answer.status, answer.body, answer.wait) == (429, b"slow down", 7)
    assert answer.header("x-odd") == "yes"
    assert answer.header("X-Absent") == ""


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("0", 0, 0),
        ("nonsense", 0, 0),
        ("-5", 0, 0),
        (timedelta(hours=1), 1800, 3600),
        (timedelta(hours=-1), 0, 0),
    ],
)
def test_a_wait_may_be_said_in_any_way(  # noqa: PLR0913, PLR0917 - fixtures and a row
    line: Line,
    provider: Provider,
    message: Request,
    said: str | timedelta,
    least: int,
    most: int,
) -> None:
    if isinstance(said, timedelta):
        said = format_datetime(datetime.now(UTC) + said, usegmt=True)
    provider.then(lies.instead(503, b"", Retry_After=said))

    assert least <= line.answer(message).wait <= most


def test_header_lines_are_read_again_from_the_first_refusal_on(
    line: Line, provider: Provider, message: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "STREAK", 2)
    refused = lies.instead(429, b"slow down", Retry_After="7", X_Odd="yes")
    provider.then(None, None, refused, refused, None)
    good, _, first, second, after = [line.answer(message) for _ in range(5)]
    assert good.header("Content-Type") == "application/json"
    # What libcurl itself reads of it is known at once.
    assert (first.wait, first.header("X-Odd")) == (7, "")
    assert (second.wait, second.header("X-Odd")) == (7, "yes")
    assert after.header("Content-Type") == "application/json"


def test_each_message_has_the_answer_that_it_was_given(
    line: Line, provider: Provider, url: str
) -> None:
    provider.then(lies.late(0.1), None, lies.late(0.05), None)
    results = line.ask(*named(url, "a", 4))
    told = {each.reference: each.message_id for each in provider.taken}
    ids = [told[f"a-{number}"].encode() for number in range(4)]
    assert [
        own in each.body
        for own, each in zip(ids, results, strict=True)
        if isinstance(each, Answer)
    ] == [True] * 4  # fmt: skip


def test_a_redirection_is_an_answer_like_others(
    line: Line, provider: Provider, message: Request
) -> None:
    provider.then(lies.REDIRECT)

    assert line.answer(message).status == 302
    assert len(provider.requests) == 1


def test_a_file_is_uploaded_as_it_is(line: Line, provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 20_000)
    form = Form(
        {"messaging_product": "whatsapp", "type": "image/jpeg"}, path, "Kö.jpg", "image/jpeg"
    )

    answer = line.answer(upload(f"{provider.url}/v23.0/1/media", form, HEADERS[1:]))
    line.answer(post(f"{provider.url}/v23.0/1/messages", MESSAGE, HEADERS))

    sent = provider.requests[0].form
    assert answer.status == 200
    assert sent["messaging_product"][2] == b"whatsapp"
    assert sent["file"] == ("Kö.jpg", "image/jpeg", path.read_bytes())
    assert (provider.requests[1].body, provider.connections) == (MESSAGE, 1)


# Connections


def test_requests_in_turn_share_a_connection(
    line: Line, provider: Provider, message: Request
) -> None:
    question = get(f"{provider.url}/v23.0/106540352242922", HEADERS)
    for _ in range(5):
        line.answer(message)
        line.answer(question)

    assert provider.connections == 1
    assert [each.method for each in provider.requests] == ["POST", "GET"] * 5
    assert {each.body for each in provider.messages} == {MESSAGE}


def test_each_provider_has_connections_of_its_own(line: Line, provider: Provider, url: str) -> None:
    other = url.replace("127.0.0.1", "localhost")

    for each in (url, other, url, other):
        line.answer(post(each, MESSAGE, HEADERS))

    assert provider.connections == 2


def test_all_are_under_way_at_the_same_time_each_on_its_own_connection(
    line: Line, provider: Provider, url: str
) -> None:
    answer_together(provider, 8)

    assert statuses(line.ask(*named(url, "b", 8))) == [200] * 8
    assert provider.connections == 8


def answer_together(provider: Provider, count: int) -> None:
    """Let the provider answer nobody before so many have asked."""
    waiting: list[Callable[[], None]] = []

    def act(to: Any, usual: Reply) -> None:
        waiting.append(lambda: to.say(bytes(usual)))
        if len(waiting) == count:
            for answer in waiting:
                answer()

    provider.choose = lambda _request: Fault(act, takes=True)


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """Let this process have so many descriptors, beyond those that select() can watch."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4_096
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, before[0]), before[1]))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_than_a_thousand_are_under_way_at_the_same_time(
    line: Line, provider: Provider, url: str, many_descriptors: int
) -> None:
    count = many_descriptors // 4  # each takes one here and one at the provider
    answer_together(provider, count)

    assert statuses(line.ask(*named(url, "a", count))) == [200] * count
    assert sorted(references(provider)) == sorted(f"a-{number}" for number in range(count))


def test_connections_are_kept_for_the_next_time(line: Line, provider: Provider, url: str) -> None:
    for size in (5, 3, 5, 4):
        assert statuses(line.ask(*named(url, "a", size))) == [200] * size

    assert provider.connections == 5


@pytest.mark.parametrize("part", [0, 1_000])
def test_answers_are_read_one_by_one_or_all_in_one_call(
    line: Line, provider: Provider, url: str, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """Where few are ready each is looked at by itself, where many are all are."""
    monkeypatch.setattr(transfers, "_ALL", part)
    monkeypatch.setattr(exchanges, "_LONGEST_WAIT", 60.0)
    line.ask(*named(url, "a", 8))
    provider.then(*[None] * 7, lies.instead(200, b"long" * 50_000))
    came = line.ask(*named(url, "b", 8))
    assert max(len(each.body) for each in came if isinstance(each, Answer)) == 200_000
    assert statuses(line.ask(*named(url, "c", 3))) == [200] * 3


def test_connections_that_nobody_uses_are_closed(
    line: Line, provider: Provider, message: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "_REAPING", 0.0)
    line.ask(*[message] * 3)
    assert provider.open_connections == 3

    line.exchanges.turn(0.0)
    assert provider.open_connections == 3
    monkeypatch.setattr(exchanges, "IDLE_LIMIT", -1)

    def closed() -> bool:
        line.exchanges.turn(0.0)
        return provider.open_connections == 0

    until(closed)
    assert line.answer(message).status == 200
    assert provider.connections == 4


def test_a_look_for_idle_connections_minds_those_that_are_under_way(
    line: Line, message: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "_REAPING", 0.0)
    monkeypatch.setattr(exchanges, "IDLE_LIMIT", -1)
    for _ in range(3):
        assert statuses(line.ask(message, message)) == [200, 200]


def test_the_end_breaks_off_what_is_under_way(
    context: DriverContext, provider: Provider, message: Request
) -> None:
    provider.then(lies.SILENCE)
    with line_with(context) as line:
        line.exchanges.begin(message, "token")
        until(lambda: line.exchanges.turn(0.01) == [] and provider.messages)
        assert len(line.exchanges) == 1
    until(lambda: provider.open_connections == 0)
    assert len(provider.messages) == 1


def test_descriptors_whose_numbers_are_used_again_are_watched_anew(
    line: Line, provider: Provider, url: str
) -> None:
    """The kernel forgets a socket that is closed: one of the same number must be told to it."""
    for turn in range(20):
        assert statuses(line.ask(*named(url, f"{turn}", 3))) == [200] * 3
        provider.hang_up()
    assert len(references(provider)) == len(set(references(provider))) == 60


def test_a_turn_that_waits_is_ended_by_another_thread(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "_LONGEST_WAIT", 60.0)
    began = time.monotonic()
    line.exchanges.wake()
    line.exchanges.turn(60.0)
    waker = threading.Timer(0.05, line.exchanges.wake)
    waker.start()
    line.exchanges.turn(60.0)
    assert time.monotonic() - began < 30.0
    waker.join()


def test_a_turn_that_waits_for_many_is_ended_by_another_thread(
    line: Line, monkeypatch: pytest.MonkeyPatch, message: Request
) -> None:
    """It polls twice, to collect more answers, and must read the bell only once."""

    def ring_before_the_wait(_watched: transfers.Watched) -> float:
        line.exchanges.wake()
        return 60.0

    line.exchanges.gathering = 0.001
    monkeypatch.setattr(transfers.Watched, "patience", ring_before_the_wait)
    line.exchanges.begin(message, "a message")
    while not (ended := line.exchanges.turn(60.0)):
        pass
    assert [token for token, _ in ended] == ["a message"]


def test_nobody_is_woken_after_the_end(context: DriverContext) -> None:
    """The descriptor may belong to somebody else by then."""
    with line_with(context) as line:
        pass
    line.exchanges.wake()


def test_the_time_spent_waiting_is_known(line: Line, provider: Provider, message: Request) -> None:
    provider.then(lies.late(0.2))
    line.answer(message)
    assert line.exchanges.waited > 0.1
    before = line.exchanges.waited
    line.exchanges.wake()
    line.exchanges.turn(1.0)
    assert line.exchanges.waited == before


# Connections that break: nothing is sent twice


@pytest.mark.parametrize("fault", [lies.CLOSE_AFTER_BODY, lies.RESET_AFTER_BODY])
def test_a_message_is_not_repeated_when_a_kept_connection_breaks_under_it(
    line: Line, provider: Provider, message: Request, fault: Fault
) -> None:
    provider.then(None, fault)
    line.answer(message)

    with pytest.raises(UncertainError):
        line.answer(message)

    assert len(provider.messages) == 2
    line.answer(message)
    assert len(provider.messages) == 3


def test_connections_that_the_provider_closed_meanwhile_cost_nothing(
    line: Line, provider: Provider, url: str
) -> None:
    line.ask(*named(url, "a", 4))
    provider.hang_up()

    assert statuses(line.ask(*named(url, "b", 4))) == [200] * 4
    assert sorted(references(provider)[4:]) == [f"b-{number}" for number in range(4)]


def test_a_connection_that_the_provider_said_to_close_is_not_used_again(
    line: Line, provider: Provider, message: Request
) -> None:
    provider.then(lies.instead(200, {}, Connection="close"))

    assert line.answer(message).status == 200
    assert line.answer(message).status == 200
    assert (len(provider.messages), provider.connections) == (2, 2)


@pytest.mark.parametrize(
    "fault", [lies.instead(200, b"{}", Connection="close"), lies.ANSWER_AND_CLOSE]
)
def test_a_connection_closed_behind_an_answer_costs_nothing(
    line: Line, provider: Provider, url: str, fault: Fault
) -> None:
    for turn in range(6):
        provider.then(None, fault, None)
        assert statuses(line.ask(*named(url, f"{turn}", 4))) == [200] * 4
        if fault is lies.ANSWER_AND_CLOSE:
            provider.hang_up()  # or the closing could still be on its way
    assert sorted(references(provider)) == [
        f"{turn}-{number}" for turn in range(6) for number in range(4)
    ]


def test_a_message_is_not_repeated_on_a_connection_that_was_left_behind(
    line: Line, provider: Provider, url: str
) -> None:
    """A provider that ends its side may read on: libcurl would send there first, and then anew."""
    ended = threading.Event()

    def end_its_side(to: Any, usual: Reply) -> None:
        to.say(bytes(usual))
        to._transport.write_eof()  # noqa: SLF001 - of a provider's kinds of trouble only this does
        ended.set()

    provider.then(Fault(end_its_side, takes=True))
    first = line.ask(*named(url, "a", 1))
    assert ended.wait(LIMIT)
    provider.then(None, lies.CLOSE_AFTER_BODY)
    results = [line.ask(*named(url, name, 1))[0] for name in "bc"]
    assert statuses([*first, *results]) == [200, 200, UncertainError]
    assert references(provider) == ["a-0", "b-0", "c-0"]


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    line: Line, provider: Provider, url: str
) -> None:
    came = threading.Event()

    def twice(to: Any, usual: Reply) -> None:
        to.say(bytes(usual))
        asyncio.get_running_loop().call_later(0.01, again, to)

    def again(to: Any) -> None:
        to.say(bytes(Reply(200, {"messages": [{"id": "wamid.forged"}]})))
        came.set()

    provider.then(Fault(twice, takes=True))
    line.ask(*named(url, "a", 1))
    assert came.wait(LIMIT)
    answer = line.answer(named(url, "b", 1)[0])
    assert provider.taken[-1].message_id.encode() in answer.body
    assert references(provider) == ["a-0", "b-0"]


def test_messages_that_need_another_connection_do_not_wait_for_slow_ones(
    line: Line, provider: Provider, url: str
) -> None:
    provider.choose = meeting({"a-1": lies.instead(200, b"{}", Connection="close")})
    assert statuses(line.ask(*named(url, "a", 2))) == [200, 200]
    answer_together(provider, 2)
    assert statuses(line.ask(*named(url, "b", 2))) == [200, 200]
    assert sorted(references(provider)) == ["a-0", "a-1", "b-0", "b-1"]


def test_a_connection_that_was_closed_while_a_slow_one_was_waited_for_costs_nothing(
    line: Line, provider: Provider, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_PROVEN", 1)
    provider.choose = meeting({"a-0": lies.late(0.1), "a-1": lies.ANSWER_AND_CLOSE})
    for turn in "bcd":
        assert statuses(line.ask(*named(url, "a", 2))) == [200, 200]
        assert statuses(line.ask(*named(url, turn, 2))) == [200, 200]


BREAKS = [
    lies.RESET_AFTER_BODY,
    lies.CLOSE_AFTER_BODY,
    lies.HALF_AN_ANSWER,
    lies.GARBAGE,
    lies.HUGE_ANSWER,
    lies.HUGE_UNANNOUNCED,
]


@pytest.mark.parametrize("fault", [lies.RESET_BEFORE_BODY, *BREAKS])
def test_what_breaks_after_the_message_left_is_uncertain(
    line: Line, provider: Provider, message: Request, fault: Fault
) -> None:
    provider.then(fault)

    with pytest.raises(UncertainError) as caught:
        line.answer(message)

    assert caught.value.code == "no_answer"
    assert line.answer(message).status == 200


@pytest.mark.parametrize("fault", [lies.SILENCE, lies.DRIP])
def test_an_answer_that_takes_too_long_is_uncertain(
    hasty: Line, provider: Provider, message: Request, fault: Fault
) -> None:
    provider.then(fault)

    with pytest.raises(UncertainError, match="did not answer within 1 seconds: "):
        hasty.answer(message)


@pytest.mark.parametrize("fault", [*BREAKS, lies.SILENCE])
def test_what_breaks_under_one_message_is_uncertain_for_that_one_alone(
    context: DriverContext, provider: Provider, url: str, fault: Fault
) -> None:
    # The others have to be answered in this time.
    seconds = 5.0 if fault is lies.SILENCE else LIMIT
    with line_with(context, send_timeout=seconds) as line:
        one_message_meets(line, provider, url, fault)


def one_message_meets(line: Line, provider: Provider, url: str, fault: Fault) -> None:
    # Kept connections: on these libcurl would send a message again by itself.
    line.ask(*named(url, "a", 4))
    provider.choose = meeting({"b-2": fault})

    results = line.ask(*named(url, "b", 4))

    assert statuses(results) == [200, 200, UncertainError, 200]
    assert sorted(references(provider)[4:]) == [f"b-{number}" for number in range(4)]


def test_messages_of_which_not_all_left_may_be_sent_again(
    line: Line, provider: Provider, url: str
) -> None:
    line.ask(*named(url, "a", 2))  # on kept connections, and on a new one
    provider.then(*[lies.RESET_BEFORE_BODY] * 3)

    results = line.ask(*named(url, "b", 3, size=20_000_000))

    assert statuses(results) == [RetryableError] * 3
    assert {getattr(each, "code", None) for each in results} == {"unreachable"}
    assert references(provider) == ["a-0", "a-1"]


# Providers that are not reached


def test_a_provider_that_takes_no_connection_is_told_by_the_time_it_was_given(
    context: DriverContext,
) -> None:
    with (
        line_with(context, connect_timeout=0.2) as line,
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
    ):
        port = full.getsockname()[1]
        # Linux lets one more wait than the backlog says, and drops whoever comes after it.
        with (
            socket.create_connection(("127.0.0.1", port)),
            pytest.raises(RetryableError, match=r"within 0\.2 seconds: ") as caught,
        ):
            line.answer(post(f"http://127.0.0.1:{port}/", MESSAGE, HEADERS))

    assert caught.value.code == "unreachable"


def test_a_provider_that_is_not_there_is_tried_later(line: Line) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    results = line.ask(*named(f"http://127.0.0.1:{port}/", "a", 3))

    assert statuses(results) == [RetryableError] * 3


def test_all_messages_to_a_name_that_nobody_knows_may_be_sent_later(line: Line) -> None:
    unknown = post("http://nobody.onion/messages", MESSAGE, HEADERS)  # never asked for (RFC 7686)
    assert statuses(line.ask(*[unknown] * 30)) == [RetryableError] * 30
    assert len(line.exchanges) == 0


def test_one_message_asks_for_the_name_of_its_provider_for_all(
    context: DriverContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    class Asking(Connection):
        def __init__(self, *values: Any) -> None:
            super().__init__(*values)
            self.curl.setopt(pycurl.RESOLVER_START_FUNCTION, self._note_asked)

        def _note_asked(self, *_: object) -> int:
            asked.append(self)
            return 0

    monkeypatch.setattr(exchanges, "Connection", Asking)
    line = Line(context)
    url = f"http://{socket.gethostname()}:1/messages"  # whether there is such a one or not
    assert statuses(line.ask(*[post(url, MESSAGE, HEADERS)] * 30)) == [RetryableError] * 30
    assert len(asked) == 1


def test_the_end_breaks_off_what_waits_for_a_name(context: DriverContext) -> None:
    line = Line(context)
    for number in range(3):
        line.exchanges.begin(post("http://localhost:1/messages", MESSAGE, HEADERS), number)
    line.exchanges.close()
    assert len(line.exchanges) == 0


def test_the_end_does_not_wait_for_a_name(
    context: DriverContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threads of libcurl are waited for, and a resolver may be silent for a long time."""
    is_over, closed = threading.Event(), threading.Event()
    close = transfers.Watched.close

    def wait(watched: transfers.Watched) -> None:
        is_over.wait(LIMIT)
        close(watched)
        closed.set()

    monkeypatch.setattr(transfers.Watched, "close", wait)
    line = Line(context)
    line.exchanges.begin(post("http://localhost:1/messages", MESSAGE, HEADERS), 1)
    line.exchanges.close()
    is_over.set()
    assert closed.wait(LIMIT)


def test_a_question_that_got_no_answer_is_asked_later(hasty: Line) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(RetryableError):
        hasty.answer(get(f"http://127.0.0.1:{mute.getsockname()[1]}/", HEADERS))


def test_a_private_address_is_refused_at_the_moment_of_connecting(
    context: DriverContext, provider: Provider, url: str
) -> None:
    with line_with(context, private_addresses=False) as guarded:
        for address in (url, url.replace("127.0.0.1", "localhost"), "http://[::1]:1/"):
            with pytest.raises(BlockedError) as caught:
                guarded.answer(post(address, MESSAGE, HEADERS))
            assert caught.value.code == "address"
            assert "PRIVATE_ADDRESSES=true" in caught.value.reason

    assert provider.connections == 0


def test_a_private_address_beside_a_public_one_is_not_what_fails_later(
    context: DriverContext, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may have both; a connection lives on after the refusal of one of them."""
    port = provider.url.rpartition(":")[2]

    class Named(Connection):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.curl.setopt(pycurl.RESOLVE, [f"both.example:{port}:127.0.0.2,127.0.0.1"])

    asked: list[str] = []

    def is_public(address: str) -> bool:
        asked.append(address)
        return address == "127.0.0.1"

    monkeypatch.setattr(exchanges, "Connection", Named)
    monkeypatch.setattr(connections, "is_public", is_public)
    with line_with(context, private_addresses=False, connect_timeout=5.0) as guarded:
        request = Request(Method.POST, f"http://both.example:{port}/messages", HEADERS, MESSAGE)
        provider.then(None, lies.CLOSE_AFTER_BODY)
        guarded.answer(request)
        assert asked == ["127.0.0.2", "127.0.0.1"]
        with pytest.raises(RetryableError) as caught:
            guarded.answer(request)
        assert caught.value.code == "unreachable"


def test_only_http_is_spoken(line: Line, tmp_path: Path) -> None:
    with pytest.raises(BlockedError) as caught:
        line.answer(get(f"file://{tmp_path}", HEADERS))

    assert caught.value.code == "url"


def test_a_request_that_cannot_be_made_is_not_under_way(line: Line, tmp_path: Path) -> None:
    form = Form({}, tmp_path / "gone.jpeg", "gone.jpeg", "image/jpeg")

    with pytest.raises(pycurl.error):
        line.exchanges.begin(upload("http://127.0.0.1:1/media", form, HEADERS), None)

    assert len(line.exchanges) == 0


def test_the_proxy_of_the_environment_is_not_used(
    line: Line, message: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert line.answer(message).status == 200


def test_the_proxy_of_the_settings_is_used(context: DriverContext, provider: Provider) -> None:
    with line_with(context, proxy=provider.url, private_addresses=False) as line:
        line.answer(post("http://graph.example/v23.0/1/messages", MESSAGE, HEADERS))

    assert provider.requests[0].headers["host"] == "graph.example"


def test_no_descriptor_is_left_open(context: DriverContext, message: Request) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - their number is all
    with line_with(context) as line:
        line.ask(*[message] * 3)
    until(lambda: len(os.listdir("/proc/self/fd")) <= len(before))  # noqa: PTH208 - as above
