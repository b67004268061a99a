"""Every driver through one table of conversations: what it asks for, what it makes of answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.channels.answers import Answer
from service.channels.base import DriverContext
from service.channels.content import (
    ContactCard,
    Content,
    Location,
    MediaKind,
    Template,
    UnsupportedContentError,
)
from service.channels.conversations import talk
from service.channels.drivers.waha.message_ids import mint
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UncertainError,
    UnknownCodeError,
)
from tests import provider as lies
from tests.channels.conftest import Opened, picture
from tests.channels.conversing import Held, carry_out, converse, said
from tests.provider import Provider, graph_error, instead, not_working

RECIPIENT = "2348179803743"
DELIVERY = "64ac509d05a7cc2b8c000001"
HELLO = Content(text='Héllo "you" \\ \n 😀')
VCARD = "BEGIN:VCARD\nVERSION:3.0\nFN:Ada Lovelace\nEND:VCARD"
ADA = ContactCard(
    name="Ada Lovelace",
    vcard=VCARD,
    phones=("2348179803743",),
    emails=("ada@example.org",),
    organisation="Engines",
)
PARAMETERS = {"type": "body", "parameters": [{"type": "text", "text": "Ada"}]}
LINK = "https://crier.example/public/attachments/JCEVJKGEFKSMR8W.jpeg"

Sent = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Message:
    """A content, and the last piece of the path and the body of each request for it."""

    content: Callable[[Path], Content]
    whatsapp_cloud: Sent = field(default_factory=list)
    waha: Sent = field(default_factory=list)


def _cloud(kind: str, body: Any) -> tuple[str, dict[str, Any]]:
    return "messages", {"type": kind, kind: body}


def _file(mimetype: str = "image/jpeg", **more: Any) -> dict[str, Any]:
    return {"file": {"mimetype": mimetype, "filename": "cake.jpeg", "url": LINK}, **more}


MESSAGES = {
    "text": Message(
        lambda _: HELLO,
        whatsapp_cloud=[_cloud("text", {"body": HELLO.text, "preview_url": False})],
        waha=[("sendText", {"text": HELLO.text, "id": mint(f"{DELIVERY}.0")})],
    ),
    "image": Message(
        lambda at: Content(media=(picture(at),)),
        whatsapp_cloud=[_cloud("image", {"id": "1000000"})],
        waha=[("sendImage", _file())],
    ),
    "image with words under it": Message(
        lambda at: Content(text="Hi", media=(picture(at),)),
        whatsapp_cloud=[_cloud("image", {"id": "1000000", "caption": "Hi"})],
        waha=[("sendImage", _file(caption="Hi"))],
    ),
    "video": Message(
        lambda at: Content(media=(picture(at, kind=MediaKind.VIDEO, mimetype="video/mp4"),)),
        whatsapp_cloud=[_cloud("video", {"id": "1000000"})],
        waha=[("sendVideo", _file("video/mp4", convert=False))],
    ),
    "audio with words before it": Message(
        lambda at: Content("Hi", (picture(at, kind=MediaKind.AUDIO, mimetype="audio/mpeg"),)),
        whatsapp_cloud=[
            _cloud("text", {"body": "Hi", "preview_url": False}),
            _cloud("audio", {"id": "1000000"}),
        ],
        waha=[
            ("sendText", {"text": "Hi", "id": mint(f"{DELIVERY}.0")}),
            ("sendVoice", _file("audio/mpeg", convert=True)),
        ],
    ),
    "document": Message(
        lambda at: Content(
            media=(picture(at, kind=MediaKind.DOCUMENT, mimetype="application/pdf"),)
        ),
        whatsapp_cloud=[_cloud("document", {"id": "1000000", "filename": "cake.jpeg"})],
        waha=[("sendFile", _file("application/pdf"))],
    ),
    "location": Message(
        lambda _: Content(location=Location("6.556452", "3.2774487", "Lagos")),
        whatsapp_cloud=[
            _cloud("location", {"latitude": "6.556452", "longitude": "3.2774487", "name": "Lagos"})
        ],
        waha=[
            (
                "sendLocation",
                {
                    "latitude": 6.556452,
                    "longitude": 3.2774487,
                    "title": "Lagos",
                    "id": mint(f"{DELIVERY}.0"),
                },
            )
        ],
    ),
    "contact": Message(
        lambda _: Content(contact=ADA),
        whatsapp_cloud=[
            _cloud(
                "contacts",
                [
                    {
                        "name": {
                            "formatted_name": "Ada Lovelace",
                            "first_name": "Ada",
                            "last_name": "Lovelace",
                        },
                        "phones": [{"phone": "+2348179803743", "wa_id": "2348179803743"}],
                        "emails": [{"email": "ada@example.org"}],
                        "org": {"company": "Engines"},
                    }
                ],
            )
        ],
        waha=[
            (
                "sendContactVcard",
                {"contacts": [{"vcard": VCARD}], "id": mint(f"{DELIVERY}.0")},
            )
        ],
    ),
    "template": Message(
        lambda _: Content(template=Template("order_ready", "en_US", (PARAMETERS,))),
        whatsapp_cloud=[
            _cloud(
                "template",
                {
                    "name": "order_ready",
                    "language": {"policy": "deterministic", "code": "en_US"},
                    "components": [PARAMETERS],
                },
            )
        ],
    ),
    "everything at once": Message(
        lambda at: Content("Hi", (picture(at),), Location("6.5", "3.2"), ContactCard("Ada", VCARD)),
        whatsapp_cloud=[
            _cloud("image", {"id": "1000000", "caption": "Hi"}),
            _cloud("location", {"latitude": "6.5", "longitude": "3.2"}),
            _cloud("contacts", [{"name": {"formatted_name": "Ada", "first_name": "Ada"}}]),
        ],
        waha=[
            ("sendImage", _file(caption="Hi")),
            (
                "sendLocation",
                {"latitude": 6.5, "longitude": 3.2, "title": "", "id": mint(f"{DELIVERY}.1")},
            ),
            ("sendContactVcard", {"contacts": [{"vcard": VCARD}], "id": mint(f"{DELIVERY}.2")}),
        ],
    ),
}

COMMON: dict[str, Callable[[int], dict[str, Any]]] = {
    "whatsapp_cloud": lambda number: {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": RECIPIENT,
        "biz_opaque_callback_data": f"{DELIVERY}.{number}",
    },
    "waha": lambda _: {"session": "default", "chatId": f"{RECIPIENT}@c.us"},
}

CREDENTIALS = {
    "whatsapp_cloud": "Authorization: Bearer EAAG-token",
    "waha": "X-Api-Key: waha-key",
}

CHANNELS = ("whatsapp_cloud", "waha")


@pytest.mark.parametrize(
    ("channel", "case"),
    [
        pytest.param(channel, case, id=f"{channel}-{name}")
        for channel in CHANNELS
        for name, case in MESSAGES.items()
        if getattr(case, channel)
    ],
)
def test_a_message_becomes_these_requests(
    opened: Opened, tmp_path: Path, channel: str, case: Message
) -> None:
    driver = opened(channel)

    talks = [
        converse(driver.send(RECIPIENT, driver.prepare(part), f"{DELIVERY}.{number}"))
        for number, part in enumerate(driver.plan(case.content(tmp_path)))
    ]

    expected = [
        (path, COMMON[channel](number) | body)
        for number, (path, body) in enumerate(getattr(case, channel))
    ]
    assert [(each.paths[-1], each.messages[-1]) for each in talks] == expected
    assert all(each.result for each in talks)
    requests = [request for each in talks for request in each.requests]
    assert all(CREDENTIALS[channel] in request.headers for request in requests)
    assert all(request.url.startswith("https://provider.example/") for request in requests)


def test_a_group_is_written_to_by_its_own_id(opened: Opened) -> None:
    driver = opened("waha")

    held = converse(driver.send("120363-1@g.us", driver.prepare(*driver.plan(HELLO)), "d.0"))

    assert held.messages[0]["chatId"] == "120363-1@g.us"


@pytest.mark.parametrize("channel", CHANNELS)
def test_messages_share_url_and_headers_by_identity(opened: Opened, channel: str) -> None:
    """A connection sets again only what is another object than before."""
    driver = opened(channel)
    prepared = driver.prepare(*driver.plan(HELLO))

    first, second = (converse(driver.send(RECIPIENT, prepared, f"d.{n}")) for n in range(2))

    assert first.requests[-1].url is second.requests[-1].url
    assert first.requests[-1].headers is second.requests[-1].headers


UNSUPPORTED: list[tuple[str, Callable[[Path], Content], str]] = [
    ("whatsapp_cloud", lambda _: Content(text="x" * 4097), "message.text"),
    (
        "whatsapp_cloud",
        lambda at: Content(media=(picture(at, size=101 * 1024 * 1024),)),
        "message.attachments",
    ),
    ("waha", lambda _: Content(template=Template("order_ready", "en")), "message.template"),
    ("waha", lambda _: Content(text="x" * 65_537), "message.text"),
]


@pytest.mark.parametrize(("channel", "content", "where"), UNSUPPORTED)
def test_what_a_channel_cannot_carry_is_said_beforehand(
    opened: Opened, tmp_path: Path, channel: str, content: Callable[[Path], Content], where: str
) -> None:
    with pytest.raises(UnsupportedContentError) as caught:
        opened(channel).plan(content(tmp_path))

    assert caught.value.field == where


def test_a_template_is_not_prepared_for_waha_either(opened: Opened) -> None:
    with pytest.raises(UnsupportedContentError):
        opened("waha").prepare(Template("order_ready", "en"))


class Trouble(NamedTuple):
    """What a message is answered, and what the driver has to make of it."""

    name: str
    answer: Answer | SendError
    kind: type[SendError]
    wait: float | None


def _graph(code: int, status: int = 400, details: str = "", **more: Any) -> Answer:
    named = {name: more.pop(name) for name in ("wait", "X_Business_Use_Case_Usage") if name in more}
    return said(status, graph_error(code, "Meta's words", details, **more), **named)


USAGE = '{"1029":[{"type":"messaging","estimated_time_to_regain_access":19}]}'
DEEP = b"[" * 100_000

BROKEN: list[Trouble] = [
    Trouble("no answer", UncertainError("Lost.", code="no_answer"), UncertainError, None),
    Trouble("unreachable", RetryableError("Away.", code="unreachable"), RetryableError, 0.0),
    Trouble("private", BlockedError("Not public.", code="address"), BlockedError, None),
    Trouble("wrong JSON", said(200, {"fortune": "It is on its way."}), UncertainError, None),
    Trouble("no JSON", said(200, b"<html>"), UncertainError, None),
    Trouble("deep JSON", said(200, DEEP), UncertainError, None),
    Trouble("not UTF-8", said(200, b'{"id": "\xff"}'), UncertainError, None),
    Trouble("an empty answer", said(200), UncertainError, None),
    Trouble("a redirection", said(302, Location="http://127.0.0.1:1/"), BlockedError, None),
    Trouble("500 of a gateway", said(500, b"<html>"), UncertainError, None),
    Trouble("502 of a gateway", said(502, b"<html>"), UncertainError, None),
    Trouble("503 of a gateway", said(503, b"<html>", wait=5.0), RetryableError, 5.0),
    Trouble("429 with a wait", said(429, b"<html>", wait=7.0), BlockedError, 7.0),
    Trouble("429 without", said(429, b"<html>"), BlockedError, 60.0),
    Trouble("404", said(404, b"<html>"), BlockedError, None),
    Trouble("413", said(413, b"<html>"), RequestError, None),
    Trouble("400 with deep JSON", said(400, DEEP), RequestError, None),
]

CLOUD: list[Trouble] = [
    Trouble("throttled", _graph(130429, wait=9.0), BlockedError, 9.0),
    Trouble("throttled, no wait said", _graph(130429), BlockedError, 60.0),
    Trouble(
        "throttled for 19 minutes",
        _graph(80007, X_Business_Use_Case_Usage=USAGE),
        BlockedError,
        1140.0,
    ),
    Trouble("throttled, unreadable", _graph(4, X_Business_Use_Case_Usage="["), BlockedError, 60.0),
    Trouble(
        "throttled, of another form",
        _graph(4, X_Business_Use_Case_Usage='{"1": "soon"}'),
        BlockedError,
        60.0,
    ),
    Trouble("spam", _graph(131048), BlockedError, 60.0),
    Trouble("pair rate", _graph(131056), RetryableError, 6.0),
    Trouble("pair rate with a wait", _graph(131056, wait=9.0), RetryableError, 9.0),
    Trouble("a day's rest", _graph(131049), RetryableError, 86_400.0),
    Trouble("passing", _graph(131000, 500), RetryableError, 0.0),
    Trouble("passing, by its own word", _graph(987654, is_transient=True), RetryableError, 0.0),
    Trouble("unknown, of the server", _graph(987654, 500), RetryableError, 0.0),
    Trouble("unknown, throttled", _graph(987654, 429), BlockedError, 60.0),
    Trouble("unknown, of ours", _graph(987654), UnknownCodeError, None),
    Trouble("not on WhatsApp", _graph(131026), PermanentError, None),
    Trouble("opted out", _graph(131050), PermanentError, None),
    Trouble("needs a template", _graph(131047), PermanentError, None),
    Trouble("bad parameter", _graph(131009), RequestError, None),
    Trouble("no such template", _graph(132001, 404), RequestError, None),
    Trouble("token expired", _graph(190, 401), BlockedError, None),
    Trouble("unknown, of the token", _graph(987654, 401), BlockedError, None),
    Trouble("no permission", _graph(200, 403), BlockedError, None),
    Trouble("unpaid", _graph(131042), BlockedError, None),
    Trouble("no such number", _graph(100, error_subcode=33), BlockedError, None),
    Trouble("error, but status 200", _graph(131026, 200), PermanentError, None),
    Trouble(
        "details that are words",
        said(400, {"error": {"code": 131026, "error_data": "No."}}),
        PermanentError,
        None,
    ),
    Trouble("no messages in it", said(200, {"messages": []}), UncertainError, None),
    Trouble(
        "message, but status 400",
        said(400, {"messages": [{"id": "wamid.1"}]}),
        UncertainError,
        None,
    ),
]

WAHA: list[Trouble] = [
    Trouble("not linked", said(422, not_working("SCAN_QR_CODE")), BlockedError, None),
    Trouble("starting", said(422, not_working("STARTING")), BlockedError, 10.0),
    Trouble("unheard of", said(422, not_working("SLEEPING")), BlockedError, None),
    Trouble(
        "only in Plus",
        said(422, {"message": "available only in Plus", "statusCode": 422}),
        RequestError,
        None,
    ),
    Trouble("bad request", said(400, {"message": ["chatId must be a string"]}), RequestError, None),
    Trouble("wrong key", said(401, {"message": "Unauthorized"}), BlockedError, None),
    Trouble(
        "restricted",
        said(500, {"exception": {"message": "server returned error 463", "code": 2}}),
        BlockedError,
        3_600.0,
    ),
    Trouble(
        "not on WhatsApp",
        said(500, {"exception": {"message": "Error: No LID for user"}}),
        PermanentError,
        None,
    ),
    Trouble("taken and failed", said(201, {"id": "true_1@c.us_A", "ack": -1}), RetryableError, 0.0),
    Trouble("taken by NOWEB and failed", said(201, {"status": "ERROR"}), RetryableError, 0.0),
    Trouble("an error that is called 201", said(201, {"error": "oops"}), RetryableError, 0.0),
    Trouble(
        "an engine's fault", said(500, {"exception": {"message": "oops"}}), UncertainError, None
    ),
]

FAULTS = {
    "whatsapp_cloud": [*BROKEN, *CLOUD],
    "waha": [*BROKEN, *WAHA],
}
TROUBLES = [
    pytest.param(channel, trouble, id=f"{channel}-{trouble.name}")
    for channel, troubles in FAULTS.items()
    for trouble in troubles
]


def told(opened: Opened, channel: str, answer: Answer | SendError) -> Held[str]:
    """Return how the second message of a driver goes, of which the first one went well."""
    driver = opened(channel)
    prepared = driver.prepare(*driver.plan(HELLO))
    assert converse(driver.send(RECIPIENT, prepared, f"{DELIVERY}.1")).result
    return converse(driver.send(RECIPIENT, prepared, f"{DELIVERY}.2"), answer)


@pytest.mark.parametrize(("channel", "trouble"), TROUBLES)
def test_a_fault_is_told_for_what_it_is(opened: Opened, channel: str, trouble: Trouble) -> None:
    held = told(opened, channel, trouble.answer)

    assert type(held.error) is trouble.kind
    assert getattr(held.error, "wait", None) == trouble.wait
    assert held.error.code
    assert len(held.messages) == 1


@pytest.mark.parametrize(("channel", "trouble"), TROUBLES)
def test_a_reason_never_has_a_secret_or_the_number_in_it(
    opened: Opened, channel: str, trouble: Trouble
) -> None:
    error = told(opened, channel, trouble.answer).error

    assert isinstance(error, SendError)
    for secret in ("EAAG-token", "waha-key", RECIPIENT):
        assert secret not in f"{error.reason}{error!r}"


# Over real HTTP


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_part_of_a_message_arrives_over_http(
    opened: Opened, provider: Provider, context: DriverContext, tmp_path: Path, channel: str
) -> None:
    driver = opened(channel, base_url=provider.url)
    content = MESSAGES["everything at once"].content(tmp_path)

    ids = [
        talk(driver.send(RECIPIENT, driver.prepare(part), f"{DELIVERY}.{number}"), context)
        for number, part in enumerate(driver.plan(content))
    ]

    assert ids == [each.message_id for each in provider.taken]
    assert len(set(ids)) == 3
    assert {each.recipient.partition("@")[0] for each in provider.taken} == {RECIPIENT}


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_answer_that_takes_too_long_is_uncertain(
    opened: Opened, provider: Provider, tmp_path: Path, channel: str
) -> None:
    driver = opened(channel, base_url=provider.url)
    provider.then(lies.SILENCE)
    hasty = DriverContext(tmp_path, send_timeout=1.0, private_addresses=True)

    with pytest.raises(UncertainError):
        talk(driver.send(RECIPIENT, driver.prepare(*driver.plan(HELLO)), f"{DELIVERY}.0"), hasty)


BREAKS = (
    lies.RESET_BEFORE_BODY,
    lies.RESET_AFTER_BODY,
    lies.CLOSE_AFTER_BODY,
    lies.HALF_AN_ANSWER,
    lies.GARBAGE,
    lies.ANSWER_AND_CLOSE,
    instead(503, b"<html>"),
)


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_verdict_is_wrong_in_a_storm(
    opened: Opened, provider: Provider, context: DriverContext, channel: str
) -> None:
    driver = opened(channel, base_url=provider.url)
    prepared = driver.prepare(*driver.plan(HELLO))
    chance = random.Random(131026)  # noqa: S311 - the same storm every time
    provider.engine_takes_ids = False
    provider.then(*(chance.choice((None, *BREAKS)) for _ in range(1500)))

    people = [f"{RECIPIENT}{number:04}" for number in range(1500)]
    sends = {each: driver.send(each, prepared, f"{DELIVERY}.{each[-4:]}") for each in people}
    ended = carry_out(context, sends, at_once=32)
    decisions = {token: each.error and type(each.error) for token, each in ended.items()}

    taken = [each.recipient.partition("@")[0] for each in provider.taken]
    assert len(taken) == len(set(taken))
    assert {recipient for recipient, kind in decisions.items() if kind is None} <= set(taken)
    assert all(decisions[recipient] in {None, UncertainError} for recipient in taken)
    assert set(decisions.values()) == {None, RetryableError, UncertainError}
