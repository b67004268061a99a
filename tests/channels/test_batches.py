"""Many recipients in one request of a described gateway, and an answer for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from marshmallow import ValidationError

from service.channels.base import Account, Driver, DriverContext
from service.channels.content import Content
from service.channels.conversations import Talk
from service.channels.errors import (
    BlockedError,
    PermanentError,
    UncertainError,
    UnknownCodeError,
)
from service.channels.registry import Channels
from service.channels.steps import NotAllowedError
from tests.channels.conftest import Memory
from tests.channels.conversing import carry_out
from tests.receiver import Got, Receiver
from tests.world import ADA, GRACE, JOAN, numbers

REFUSED, LEFT_OUT = "12025559998", "12025559999"

OWN_TEXTS: dict[str, Any] = {
    "body": {"from": "Crier", "messages": [{"to": "{{to}}", "text": "{{text}}"}]},
    "batch": {
        "most": 10,
        "at": "messages",
        "each": "results",
        "recipient": "to",
        "accepted": {"at": "ok", "values": ["true"]},
        "id": "id",
        "code": "code",
        "reason": "why",
    },
    "codes": {"recipient": ["17"]},
}
ONE_TEXT: dict[str, Any] = {
    **OWN_TEXTS,
    "body": {"to": "{{to}}", "text": "{{text}}"},
    "batch": {**OWN_TEXTS["batch"], "at": "to", "join": ","},
    "format": "form",
}
BARE: dict[str, Any] = {
    **OWN_TEXTS,
    "body": {"to": "{{to}}", "text": "{{text}}"},
    "batch": {"most": 10, "id": "id", "accepted": {"at": "ok", "values": ["true"]}},
}


def entry(number: str) -> dict[str, Any]:
    if number == REFUSED:
        return {"to": number, "ok": False, "code": 17, "why": "No such number."}
    return {"to": f"+{number}", "ok": True, "id": f"id-{number}"}


def asked(got: Got) -> list[str]:
    """Return whom a request is for."""
    if got.body[:1] == b"[":
        return [each["to"] for each in json.loads(got.body)]
    if got.body[:1] == b"{":
        return [each["to"] for each in json.loads(got.body)["messages"]]
    return parse_qs(got.body.decode())["to"][0].split(",")


@pytest.fixture
def gateway() -> Iterator[Receiver]:
    with Receiver() as running:
        running.answer = lambda _got: 200
        running.says = lambda got: json.dumps(
            [entry(each) for each in asked(got)]
            if got.body[:1] == b"["
            else {"results": [entry(each) for each in reversed(asked(got)) if each != LEFT_OUT]}
        ).encode()
        yield running


def opened(context: DriverContext, gateway: Receiver, described: dict[str, Any]) -> Driver:
    channels = Channels(context)
    given = {"base_url": gateway.url, **described}
    loaded = channels.settings_schema("http_gateway")().load(given)
    return channels.open("http_gateway", Account("64ac-session", loaded, Memory()))


def sent(
    context: DriverContext, driver: Driver, texts: list[tuple[str, str]], **options: Any
) -> dict[str, Talk]:
    """Send texts to people, all at once; return the ends by recipient and place."""
    conversations = {}
    for place, (to, text) in enumerate(texts):
        (part,) = driver.plan(Content(text))
        reference = f"64ac509d05a7cc2b8c000001.{place}"
        conversations[f"{to}/{place}"] = driver.send(to, driver.prepare(part), reference)
    return carry_out(context, conversations, **options)


@pytest.mark.parametrize("described", [OWN_TEXTS, ONE_TEXT, BARE], ids=["own", "one", "bare"])
def test_many_go_in_one_request_and_each_has_an_answer(
    context: DriverContext, gateway: Receiver, described: dict[str, Any]
) -> None:
    people = numbers(25)
    ended = sent(context, opened(context, gateway, described), [(each, "Hi") for each in people])
    assert {name.split("/")[0]: talk.result for name, talk in ended.items()} == {
        each: f"id-{each}" for each in people
    }
    assert sorted(len(asked(got)) for got in gateway.got) == [5, 10, 10]


def test_texts_of_their_own_go_together_only_where_the_request_has_room_for_them(
    context: DriverContext, gateway: Receiver
) -> None:
    texts = [(ADA, "Hi Ada {{to}}"), (GRACE, "Hi Grace")]
    ended = sent(context, opened(context, gateway, OWN_TEXTS), texts)
    assert not [talk.error for talk in ended.values() if talk.error]
    (got,) = gateway.got
    said = json.loads(got.body)
    assert said["from"] == "Crier"
    assert {each["to"]: each["text"] for each in said["messages"]} == dict(texts)
    gateway.got.clear()
    sent(context, opened(context, gateway, ONE_TEXT), texts)
    assert sorted(map(asked, gateway.got)) == [[ADA], [GRACE]]


def test_nobody_is_named_twice_in_a_request(context: DriverContext, gateway: Receiver) -> None:
    driver = opened(context, gateway, OWN_TEXTS)
    sent(context, driver, [(ADA, "one"), (ADA, "two"), (GRACE, "one")])
    assert sorted(sorted(asked(got)) for got in gateway.got) in (
        [[ADA], sorted([ADA, GRACE])],
        [sorted([ADA, GRACE]), [ADA]],
    )


def test_each_has_its_own_outcome(context: DriverContext, gateway: Receiver) -> None:
    people = [ADA, REFUSED, LEFT_OUT]
    driver = opened(context, gateway, OWN_TEXTS)
    ended = {
        name.split("/")[0]: talk
        for name, talk in sent(context, driver, [(each, "Hi") for each in people]).items()
    }
    assert ended[ADA].result == f"id-{ADA}"
    refused = ended[REFUSED].error
    assert isinstance(refused, PermanentError)
    assert not isinstance(refused, UnknownCodeError)
    assert (refused.code, refused.reason) == ("17", "No such number.")
    assert isinstance(ended[LEFT_OUT].error, UncertainError)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b"{}", BlockedError),
        (200, b'{"results": []}', UncertainError),
        (200, b"not JSON", UncertainError),
        (500, b"", UncertainError),
    ],
)
def test_what_befalls_the_request_befalls_all(
    context: DriverContext, gateway: Receiver, status: int, body: bytes, kind: type[Exception]
) -> None:
    gateway.answer, gateway.says = lambda _got: status, lambda _got: body
    ended = sent(context, opened(context, gateway, OWN_TEXTS), [(ADA, "Hi"), (GRACE, "Hi")])
    assert {type(talk.error) for talk in ended.values()} == {kind}
    assert len(gateway.got) == 1


def test_who_may_not_be_sent_to_any_more_is_left_out(
    context: DriverContext, gateway: Receiver
) -> None:
    driver = opened(context, gateway, OWN_TEXTS)
    texts = [(each, "Hi") for each in (ADA, GRACE, JOAN)]
    ended = sent(context, driver, texts, may_begin=lambda name: GRACE not in name)
    assert [sorted(asked(got)) for got in gateway.got] == [sorted([ADA, JOAN])]
    (left_out,) = [talk for talk in ended.values() if talk.error]
    assert isinstance(left_out.error, NotAllowedError)
    assert GRACE in left_out.token


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"batch": {"most": 1, "id": "id"}}, "most"),
        ({"batch": {"most": 10}}, "id"),
        ({"batch": {"most": 10, "id": "id", "at": "people"}}, "at"),
        ({"batch": {"most": 10, "id": "id", "at": "from.0"}}, "at"),
        ({"batch": {"most": 10, "id": "id", "at": "messages", "join": ","}}, "at"),
        (
            {"body": {"to": ["x"], "n": "{{to}}{{text}}"}, "batch": {**BARE["batch"], "at": "to"}},
            "at",
        ),
        (
            {
                "body": {"to": ["{{to}}"], "text": "{{text}}", "ref": "{{reference}}"},
                "batch": {**BARE["batch"], "at": "to"},
            },
            "at",
        ),
        ({"path": "/{{to}}"}, "at"),
        ({"format": "form"}, "join"),
    ],
)
def test_a_batch_that_does_not_fit_its_request_is_refused(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    schema = Channels(DriverContext(tmp_path)).settings_schema("http_gateway")()
    with pytest.raises(ValidationError) as refused:
        schema.load({"base_url": "https://a.example", **OWN_TEXTS, **changes})
    assert list(refused.value.messages_dict) == ["batch"]
    assert list(refused.value.messages_dict["batch"]) == [field]
