"""Every driver through one table: what it sends for each message, what it makes of each fault."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.channels.base import (
    BlockedError,
    ContactCard,
    Content,
    Location,
    MediaKind,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    Template,
    UncertainError,
    UnknownCodeError,
    UnsupportedContentError,
)
from service.channels.drivers.waha.message_ids import mint
from tests import provider as lies
from tests.channels.conftest import Opened, picture
from tests.provider import Fault, Provider, graph_error, instead, not_working

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
    "whatsapp_cloud": ("authorization", "Bearer EAAG-token"),
    "waha": ("x-api-key", "waha-key"),
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
    opened: Opened, provider: Provider, tmp_path: Path, channel: str, case: Message
) -> None:
    driver = opened(channel)

    ids = [
        driver.send(RECIPIENT, driver.prepare(part), f"{DELIVERY}.{number}")
        for number, part in enumerate(driver.plan(case.content(tmp_path)))
    ]

    expected = [
        (path, COMMON[channel](number) | body)
        for number, (path, body) in enumerate(getattr(case, channel))
    ]
    assert [(each.path.rpartition("/")[2], each.json) for each in provider.messages] == expected
    assert ids == [each.message_id for each in provider.taken]
    name, value = CREDENTIALS[channel]
    assert {each.headers[name] for each in provider.requests} == {value}


def test_a_group_is_written_to_by_its_own_id(opened: Opened, provider: Provider) -> None:
    driver = opened("waha")

    driver.send("120363-1@g.us", driver.prepare(*driver.plan(HELLO)), f"{DELIVERY}.0")

    assert provider.taken[0].recipient == "120363-1@g.us"


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
    """What goes wrong, and what the driver has to make of it."""

    name: str
    fault: Fault
    kind: type[SendError]
    wait: float | None


def _graph(code: int, status: int = 400, details: str = "", **more: Any) -> Fault:
    headers = more.pop("headers", {})
    return instead(status, graph_error(code, "Meta's words", details, **more), **headers)


USAGE = '{"1029":[{"type":"messaging","estimated_time_to_regain_access":19}]}'

BROKEN: list[Trouble] = [
    Trouble("reset before the body", lies.RESET_BEFORE_BODY, UncertainError, None),
    Trouble("reset after the body", lies.RESET_AFTER_BODY, UncertainError, None),
    Trouble("closed after the body", lies.CLOSE_AFTER_BODY, UncertainError, None),
    Trouble("half an answer", lies.HALF_AN_ANSWER, UncertainError, None),
    Trouble("garbage", lies.GARBAGE, UncertainError, None),
    Trouble("50 MB", lies.HUGE_ANSWER, UncertainError, None),
    Trouble("50 MB, unannounced", lies.HUGE_UNANNOUNCED, UncertainError, None),
    Trouble("wrong JSON", lies.WRONG_JSON, UncertainError, None),
    Trouble("no JSON", instead(200, b"<html>", takes=True), UncertainError, None),
    Trouble("an empty answer", instead(200, takes=True), UncertainError, None),
    Trouble("a redirection", lies.REDIRECT, BlockedError, None),
    Trouble("500 of a gateway", instead(500, b"<html>"), UncertainError, None),
    Trouble("502 of a gateway", instead(502, b"<html>"), UncertainError, None),
    Trouble("503 of a gateway", instead(503, b"<html>", Retry_After="5"), RetryableError, 5.0),
    Trouble("429 with a wait", instead(429, b"<html>", Retry_After="7"), BlockedError, 7.0),
    Trouble("429 without", instead(429, b"<html>"), BlockedError, 60.0),
    Trouble("404", instead(404, b"<html>"), BlockedError, None),
    Trouble("413", instead(413, b"<html>"), RequestError, None),
]

CLOUD: list[Trouble] = [
    Trouble("throttled", _graph(130429, headers={"Retry_After": "9"}), BlockedError, 9.0),
    Trouble("throttled, no wait said", _graph(130429), BlockedError, 60.0),
    Trouble(
        "throttled for 19 minutes",
        _graph(80007, headers={"X_Business_Use_Case_Usage": USAGE}),
        BlockedError,
        1140.0,
    ),
    Trouble(
        "throttled, unreadable",
        _graph(4, headers={"X_Business_Use_Case_Usage": "["}),
        BlockedError,
        60.0,
    ),
    Trouble("spam", _graph(131048), BlockedError, 60.0),
    Trouble("pair rate", _graph(131056), RetryableError, 6.0),
    Trouble(
        "pair rate with a wait", _graph(131056, headers={"Retry_After": "9"}), RetryableError, 9.0
    ),
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
        "message, but status 400",
        instead(400, {"messages": [{"id": "wamid.1"}]}, takes=True),
        UncertainError,
        None,
    ),
]

WAHA: list[Trouble] = [
    Trouble("not linked", instead(422, not_working("SCAN_QR_CODE")), BlockedError, None),
    Trouble("starting", instead(422, not_working("STARTING")), BlockedError, 10.0),
    Trouble("unheard of", instead(422, not_working("SLEEPING")), BlockedError, None),
    Trouble(
        "only in Plus",
        instead(422, {"message": "available only in Plus", "statusCode": 422}),
        RequestError,
        None,
    ),
    Trouble(
        "bad request", instead(400, {"message": ["chatId must be a string"]}), RequestError, None
    ),
    Trouble("wrong key", instead(401, {"message": "Unauthorized"}), BlockedError, None),
    Trouble(
        "restricted",
        instead(500, {"exception": {"message": "server returned error 463", "code": 2}}),
        BlockedError,
        3_600.0,
    ),
    Trouble(
        "not on WhatsApp",
        instead(500, {"exception": {"message": "Error: No LID for user"}}),
        PermanentError,
        None,
    ),
    Trouble(
        "taken and failed", instead(201, {"id": "true_1@c.us_A", "ack": -1}), RetryableError, 0.0
    ),
    Trouble("taken by NOWEB and failed", instead(201, {"status": "ERROR"}), RetryableError, 0.0),
    Trouble("an error that is called 201", instead(201, {"error": "oops"}), RetryableError, 0.0),
    Trouble(
        "an engine's fault", instead(500, {"exception": {"message": "oops"}}), UncertainError, None
    ),
]

FAULTS = {
    "whatsapp_cloud": [*BROKEN, *CLOUD],
    "waha": [*BROKEN, *WAHA],
}


@pytest.mark.parametrize(
    ("channel", "trouble"),
    [
        pytest.param(channel, trouble, id=f"{channel}-{trouble.name}")
        for channel, troubles in FAULTS.items()
        for trouble in troubles
    ],
)
def test_a_fault_is_told_for_what_it_is(
    opened: Opened, provider: Provider, channel: str, trouble: Trouble
) -> None:
    driver = opened(channel)
    prepared = driver.prepare(*driver.plan(HELLO))
    provider.then(None, trouble.fault, None)
    driver.send(RECIPIENT, prepared, f"{DELIVERY}.1")

    with pytest.raises(SendError) as caught:
        driver.send(RECIPIENT, prepared, f"{DELIVERY}.2")

    assert type(caught.value) is trouble.kind
    assert getattr(caught.value, "wait", None) == trouble.wait
    assert caught.value.code
    assert len(provider.messages) <= 2
    driver.send(RECIPIENT, prepared, f"{DELIVERY}.3")
    assert len(provider.taken) == 2 + trouble.fault.takes


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
def test_no_verdict_is_wrong_in_a_storm(opened: Opened, provider: Provider, channel: str) -> None:
    driver = opened(channel)
    prepared = driver.prepare(*driver.plan(HELLO))
    chance = random.Random(131026)  # noqa: S311 - the same storm every time
    provider.engine_takes_ids = False
    provider.then(*(chance.choice((None, *BREAKS)) for _ in range(1500)))

    def send(number: int) -> tuple[str, type[SendError] | None]:
        recipient = f"{RECIPIENT}{number:04}"
        try:
            driver.send(recipient, prepared, f"{DELIVERY}.{number}")
        except SendError as error:
            return recipient, type(error)
        return recipient, None

    with ThreadPoolExecutor(8) as pool:
        verdicts = dict(pool.map(send, range(1500)))

    taken = [each.recipient.partition("@")[0] for each in provider.taken]
    assert len(taken) == len(set(taken))
    assert {recipient for recipient, kind in verdicts.items() if kind is None} <= set(taken)
    assert all(verdicts[recipient] in {None, UncertainError} for recipient in taken)
    assert set(verdicts.values()) == {None, RetryableError, UncertainError}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("fault", [lies.SILENCE, lies.DRIP, lies.late(30)])
def test_an_answer_that_takes_too_long_is_uncertain(
    opened: Opened, provider: Provider, channel: str, fault: Fault
) -> None:
    driver = opened(channel, timeout=1.0)
    provider.then(fault)

    with pytest.raises(UncertainError):
        driver.send(RECIPIENT, driver.prepare(*driver.plan(HELLO)), f"{DELIVERY}.0")


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_reason_never_has_a_secret_or_the_number_in_it(
    opened: Opened, provider: Provider, channel: str
) -> None:
    driver = opened(channel)
    prepared = driver.prepare(*driver.plan(HELLO))
    provider.then(None)
    driver.send(RECIPIENT, prepared, f"{DELIVERY}.0")

    for trouble in FAULTS[channel]:
        provider.then(trouble.fault)
        with pytest.raises(SendError) as caught:
            driver.send(RECIPIENT, prepared, f"{DELIVERY}.0")
        for secret in ("EAAG-token", "waha-key", RECIPIENT):
            assert secret not in f"{caught.value.reason}{caught.value!r}"
