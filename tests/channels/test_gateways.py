"""SMS gateways: what each is asked for, what its answers mean, and what it reports.

The expected requests, answers and reports are those of the vendors' own pages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from marshmallow import ValidationError

from service.channels.answers import Answer
from service.channels.base import Account, Driver, DriverContext
from service.channels.content import Content
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UncertainError,
    UnknownCodeError,
)
from service.channels.registry import Channels
from service.channels.steps import Request
from service.channels.webhooks import Receipt, Report, WebhookCall
from tests.channels.conftest import Memory
from tests.channels.conversing import Held, converse, said

GATEWAYS = Path(__file__).parents[2] / "docs" / "gateways"
RECIPIENT = "2348179803743"
REFERENCE = "64ac509d05a7cc2b8c000001.0"
SESSION = "64ac509d05a7cc2b8c0000aa"
PUBLIC = "https://crier.example"
WEBHOOK = f"{PUBLIC}/webhook/{SESSION}"
TOLD = f"{WEBHOOK}?token=a-long-random-word"
TEXT = 'Héllo "you" & me'

TWILIO = {"account_sid": "AC" + "a" * 32, "auth_token": "12345", "sender": "+12025550110"}
AFRICA = {"username": "sandbox", "api_key": "key", "sender": "CRIER", "webhook_token": "word"}


def opened(channel: str, settings: dict[str, Any], tmp_path: Path) -> Driver:
    channels = Channels(DriverContext(tmp_path, public_url=PUBLIC))
    loaded = channels.settings_schema(channel)().load(settings)
    return channels.open(channel, Account(SESSION, loaded, Memory()))


def sent(driver: Driver, answer: Answer, text: str = TEXT, to: str = RECIPIENT) -> Held[str]:
    (part,) = driver.plan(Content(text))
    return converse(driver.send(to, driver.prepare(part), REFERENCE), answer)


def described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GATEWAYS / f"{name}.json").read_text())
    assert found["channel"] == "http_gateway"
    settings: dict[str, Any] = found["settings"]
    return settings


@pytest.mark.parametrize(
    ("channel", "settings", "reasons"),
    [
        (
            "twilio",
            {**TWILIO, "account_sid": "AC1", "messaging_service_sid": "MG1"},
            {
                "account_sid": ["Must be AC and 32 hexadecimal digits."],
                "messaging_service_sid": ["Must be MG and 32 hexadecimal digits."],
            },
        ),
        (
            "africas_talking",
            {**AFRICA, "username": "…"},
            {
                "username": [
                    "Must have 1 to 64 characters, each an ASCII letter, a digit or one of . _ -"
                ]
            },
        ),
    ],
)
def test_an_account_that_cannot_be_is_told_how_one_is_written(
    channel: str, settings: dict[str, Any], reasons: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ValidationError) as refused:
        opened(channel, settings, tmp_path)
    assert refused.value.messages == reasons


def form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode()))


def query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.url).query))


def body(request: Request) -> Any:
    return json.loads(request.body)


def test_twilio_is_told_the_sender_and_where_to_report(tmp_path: Path) -> None:
    held = sent(opened("twilio", TWILIO, tmp_path), said(201, {"sid": "SM1", "status": "queued"}))
    (request,) = held.requests
    assert held.result == "SM1"
    assert request.once
    assert (
        request.url == f"https://api.twilio.com/2010-04-01/Accounts/{'AC' + 'a' * 32}/Messages.json"
    )
    assert form(request) == {
        "From": "+12025550110",
        "StatusCallback": WEBHOOK,
        "Body": TEXT,
        "To": f"+{RECIPIENT}",
    }
    credentials = base64.b64encode(f"{'AC' + 'a' * 32}:12345".encode()).decode()
    assert f"Authorization: Basic {credentials}" in request.headers


def test_africas_talking_is_told_the_sender(tmp_path: Path) -> None:
    recipient = {"statusCode": 101, "number": f"+{RECIPIENT}", "messageId": "ATXid_1"}
    answer = said(201, {"SMSMessageData": {"Message": "Sent", "Recipients": [recipient]}})
    held = sent(opened("africas_talking", AFRICA, tmp_path), answer)
    assert held.result == "ATXid_1"
    assert form(held.requests[0]) == {
        "username": "sandbox",
        "from": "CRIER",
        "message": TEXT,
        "to": f"+{RECIPIENT}",
    }
    assert "apiKey: key" in held.requests[0].headers


def _twilio(code: int, status: int = 400) -> Answer:
    return said(status, {"code": code, "message": "Twilio's words", "status": status})


def _africa(code: int) -> Answer:
    recipient = {"statusCode": code, "number": "+234", "status": "Word", "messageId": "None"}
    return said(201, {"SMSMessageData": {"Message": "Sent to 0/1", "Recipients": [recipient]}})


FAULTS: list[tuple[str, Answer, type[SendError], str]] = [
    ("twilio", _twilio(21211), PermanentError, "21211"),
    ("twilio", _twilio(21610), PermanentError, "21610"),
    ("twilio", _twilio(21617), RequestError, "21617"),
    ("twilio", _twilio(20003, 401), BlockedError, "20003"),
    ("twilio", _twilio(20429, 429), BlockedError, "20429"),
    ("twilio", _twilio(20503, 503), RetryableError, "20503"),
    ("twilio", _twilio(99999), UnknownCodeError, "99999"),
    ("twilio", _twilio(99999, 503), RetryableError, "http_503"),
    ("twilio", said(500, b"<html>"), UncertainError, "http_500"),
    ("twilio", said(201, {}), UncertainError, "http_201"),
    ("africas_talking", _africa(403), PermanentError, "403"),
    ("africas_talking", _africa(405), BlockedError, "405"),
    ("africas_talking", _africa(406), PermanentError, "406"),
    ("africas_talking", _africa(501), RetryableError, "501"),
    ("africas_talking", _africa(499), UnknownCodeError, "499"),
    (
        "africas_talking",
        said(201, {"SMSMessageData": {"Message": "InvalidSenderId", "Recipients": []}}),
        BlockedError,
        "402",
    ),
    (
        "africas_talking",
        said(401, b"The supplied authentication is invalid"),
        BlockedError,
        "http_401",
    ),
    ("africas_talking", said(201, b"[]"), UncertainError, "http_201"),
]


@pytest.mark.parametrize(("channel", "answer", "kind", "code"), FAULTS)
def test_a_fault_is_told_for_what_it_is(
    tmp_path: Path, channel: str, answer: Answer, kind: type[SendError], code: str
) -> None:
    settings = {"twilio": TWILIO, "africas_talking": AFRICA}[channel]
    error = sent(opened(channel, settings, tmp_path), answer).error
    assert type(error) is kind
    assert isinstance(error, SendError)
    assert error.code == code
    if isinstance(error, PermanentError):
        assert error.opted_out is (code in {"21610", "406"})


def test_a_name_is_not_sent_to_where_carriers_take_numbers_only(tmp_path: Path) -> None:
    for channel, settings in (
        ("twilio", {**TWILIO, "sender": "Crier"}),
        ("africas_talking", AFRICA),
        ("http_gateway", described("termii")),
    ):
        driver = opened(channel, settings, tmp_path)
        (part,) = driver.plan(Content("Hi"))
        held = converse(driver.send("12025550110", driver.prepare(part), REFERENCE))
        assert isinstance(held.error, PermanentError)
        assert held.requests == []


def test_accounts_are_checked(tmp_path: Path) -> None:
    twilio, africa = opened("twilio", TWILIO, tmp_path), opened("africas_talking", AFRICA, tmp_path)
    assert converse(twilio.check(), said(200, {"status": "active"})).error is None
    assert isinstance(converse(twilio.check(), said(200, {"status": "closed"})).error, BlockedError)
    assert isinstance(converse(twilio.check(), _twilio(20003, 401)).error, BlockedError)
    assert converse(africa.check(), said(200, {"UserData": {"balance": "KES 1"}})).error is None
    assert isinstance(converse(africa.check(), said(200, {})).error, BlockedError)
    assert isinstance(converse(africa.check(), said(401)).error, BlockedError)


def called(said: dict[str, str], url: str = WEBHOOK, **headers: str) -> WebhookCall:
    return WebhookCall(urlencode(said).encode(), headers, {}, url)


def test_twilio_signs_the_url_and_the_fields() -> None:
    webhook = Channels(DriverContext(Path())).driver_class("twilio").webhook
    assert webhook
    # The example of https://www.twilio.com/docs/usage/security.
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    url = "https://example.com/myapp.php?foo=1&bar=2"
    signed = url + "".join(name + value for name, value in sorted(fields.items()))
    digest = hmac.new(b"12345", signed.encode(), hashlib.sha1).digest()
    call = called(fields, url, **{"x-twilio-signature": base64.b64encode(digest).decode()})
    assert webhook.is_authentic(call, {"auth_token": "12345"})
    assert not webhook.is_authentic(call, {"auth_token": "54321"})
    assert not webhook.is_authentic(replace(call, url=WEBHOOK), {"auth_token": "12345"})
    assert not webhook.is_authentic(
        replace(call, body=call.body + b"&a=b"), {"auth_token": "12345"}
    )
    assert not webhook.is_authentic(replace(call, headers={}), {"auth_token": "12345"})


def test_a_token_in_the_url_is_proof_where_nothing_is_signed() -> None:
    webhook = Channels(DriverContext(Path())).driver_class("africas_talking").webhook
    assert webhook
    call = replace(called({}), query={"token": "word"})
    assert webhook.is_authentic(call, {"webhook_token": "word"})
    assert not webhook.is_authentic(call, {"webhook_token": "other"})
    assert not webhook.is_authentic(replace(call, query={"token": ""}), {"webhook_token": ""})


def report(channel: str, raw: bytes, settings: dict[str, Any]) -> Report:
    driver = Channels(DriverContext(Path())).driver_class(channel)
    assert driver.webhook
    return driver.webhook.parse(raw, driver.Settings().load(settings))


def words(said: Report) -> list[tuple[str, str, str]]:
    return [
        (each.provider_id, each.state.value, each.error.code if each.error else "")
        for each in said.words
        if isinstance(each, Receipt)
    ]


REPORTS: list[tuple[str, dict[str, str], tuple[str, str, str]]] = [
    (
        "twilio",
        {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+234"},
        ("SM1", "delivered", ""),
    ),
    (
        "twilio",
        {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30003", "To": "+234"},
        ("SM1", "failed", "30003"),
    ),
    (
        "africas_talking",
        {"id": "ATXid_1", "status": "Success", "phoneNumber": "+234"},
        ("ATXid_1", "delivered", ""),
    ),
    (
        "africas_talking",
        {"id": "A", "status": "Failed", "failureReason": "UserInBlackList", "phoneNumber": "+2"},
        ("A", "failed", "UserInBlackList"),
    ),
]


@pytest.mark.parametrize(("channel", "fields", "word"), REPORTS)
def test_a_report_becomes_a_receipt(
    channel: str, fields: dict[str, str], word: tuple[str, str, str]
) -> None:
    settings = {"twilio": TWILIO, "africas_talking": AFRICA}[channel]
    assert words(report(channel, urlencode(fields).encode(), settings)) == [word]


def test_what_people_write_is_taken_too() -> None:
    twilio = {
        "MessageSid": "SM2",
        "From": "+2348179803743",
        "Body": "STOP",
        "SmsStatus": "received",
    }
    africa = {"id": "9", "from": "+2348179803743", "text": "Yes", "to": "CRIER", "linkId": ""}
    for channel, fields, settings, text in (
        ("twilio", twilio, TWILIO, "STOP"),
        ("africas_talking", africa, AFRICA, "Yes"),
    ):
        found = report(channel, urlencode(fields).encode(), settings)
        ((sender, said_text),) = [(each.sender, each.text) for each in found.inbound]
        assert (sender, said_text, words(found)) == (RECIPIENT, text, [])


Reads = Callable[[Request], Any]

SENT: list[tuple[str, str, Reads, dict[str, Any], Answer, str]] = [
    (
        "termii",
        "https://api.ng.termii.com/api/sms/send",
        body,
        {
            "api_key": "your-api-key",
            "to": RECIPIENT,
            "from": "Crier",
            "sms": TEXT,
            "type": "plain",
            "channel": "generic",
        },
        said(
            200, {"code": "ok", "message_id": "9122821270554876574", "message": "Successfully Sent"}
        ),
        "9122821270554876574",
    ),
    (
        "bulksms",
        "https://api.bulksms.com/v1/messages",
        body,
        {
            "to": f"+{RECIPIENT}",
            "body": TEXT,
            "encoding": "TEXT",
            "userSuppliedId": REFERENCE,
        },
        said(201, [{"id": "2", "type": "SENT", "to": RECIPIENT, "status": {"type": "ACCEPTED"}}]),
        "2",
    ),
    (
        "infobip",
        "https://your-id.api.infobip.com/sms/3/messages",
        body,
        {
            "messages": [
                {
                    "sender": "Crier",
                    "destinations": [{"to": RECIPIENT}],
                    "content": {"text": TEXT},
                    "webhooks": {"delivery": {"url": TOLD}, "contentType": "application/json"},
                }
            ]
        },
        said(200, {"messages": [{"messageId": "i1", "status": {"groupName": "PENDING"}}]}),
        "i1",
    ),
    (
        "vonage",
        "https://rest.nexmo.com/sms/json",
        form,
        {
            "api_key": "your-key",
            "api_secret": "your-secret",
            "to": RECIPIENT,
            "from": "Crier",
            "text": TEXT,
            "type": "text",
            "client-ref": REFERENCE,
            "callback": TOLD,
        },
        said(200, {"message-count": "1", "messages": [{"status": "0", "message-id": "0A01"}]}),
        "0A01",
    ),
    (
        "plivo",
        "https://api.plivo.com/v1/Account/your-auth-id/Message/",
        body,
        {"src": "Crier", "dst": RECIPIENT, "text": TEXT, "url": TOLD, "method": "POST"},
        said(202, {"message": "message(s) queued", "message_uuid": ["db3ce55a"], "api_id": "1"}),
        "db3ce55a",
    ),
    (
        "kannel",
        "http://127.0.0.1:13013/cgi-bin/sendsms",
        query,
        {
            "username": "tester",
            "password": "your-password",
            "to": RECIPIENT,
            "from": "Crier",
            "text": TEXT,
            "charset": "UTF-8",
            "coding": "0",
            "dlr-mask": "31",
            "dlr-url": f"{TOLD}&reference={REFERENCE}&status=%d",
        },
        said(202, b"0: Accepted for delivery"),
        REFERENCE,
    ),
    (
        "jasmin",
        "http://127.0.0.1:1401/send",
        query,
        {
            "username": "foo",
            "password": "your-password",
            "to": RECIPIENT,
            "from": "Crier",
            "content": TEXT,
            "coding": "0",
            "dlr": "yes",
            "dlr-level": "3",
            "dlr-url": TOLD,
            "dlr-method": "POST",
        },
        said(200, b'Success "07033084-5cfd-4812-90a4-e4d24ffb6e3d"'),
        "07033084-5cfd-4812-90a4-e4d24ffb6e3d",
    ),
    (
        "httpsms",
        "https://api.httpsms.com/v1/messages/send",
        body,
        {
            "content": TEXT,
            "from": "+12025550111",
            "to": f"+{RECIPIENT}",
            "request_id": REFERENCE,
        },
        said(200, {"data": {"id": "32343a19"}, "status": "success", "message": "added to queue"}),
        "32343a19",
    ),
    (
        "textbee",
        "https://api.textbee.dev/api/v1/gateway/devices/your-device-id/send-sms",
        body,
        {"recipients": [f"+{RECIPIENT}"], "message": TEXT},
        said(201, {"data": {"success": True, "smsBatchId": "6789", "recipientCount": 1}}),
        "6789",
    ),
]


@pytest.mark.parametrize("case", SENT, ids=[case[0] for case in SENT])
def test_a_described_gateway_gets_what_its_page_asks_for(
    tmp_path: Path, case: tuple[str, str, Reads, dict[str, Any], Answer, str]
) -> None:
    name, url, reads, expected, answer, known_as = case
    held = sent(opened("http_gateway", described(name), tmp_path), answer)
    (request,) = held.requests
    assert request.once
    assert request.url.partition("?")[0] == url
    assert reads(request) == expected
    assert held.result == known_as


def test_every_description_in_the_docs_is_tested() -> None:
    assert {path.stem for path in GATEWAYS.glob("*.json")} == {case[0] for case in SENT}


RECEIPTS: list[tuple[str, bytes, tuple[str, str, str]]] = [
    (
        "termii",
        b'{"type":"outbound","message_id":"59","sender":"N-Alert","message":"Hi","status":"DELIVERED"}',
        ("59", "delivered", ""),
    ),
    (
        "bulksms",
        b'[{"id":"2","type":"SENT","status":{"type":"FAILED","subtype":"EXPIRED"}}]',
        ("2", "failed", "FAILED"),
    ),
    (
        "infobip",
        b'{"results":[{"messageId":"i1","status":{"groupName":"DELIVERED"}}]}',
        ("i1", "delivered", ""),
    ),
    (
        "plivo",
        b"MessageUUID=db3ce55a&Type=sms&Status=undelivered&ErrorCode=420&From=1&To=2",
        ("db3ce55a", "failed", "undelivered"),
    ),
    ("vonage", b"messageId=0A01&status=rejected&err-code=9", ("0A01", "failed", "rejected")),
    ("kannel", b"token=x&reference=64ac.0&status=1", ("64ac.0", "delivered", "")),
    ("jasmin", b"id=07033084&level=3&message_status=UNDELIV", ("07033084", "failed", "UNDELIV")),
    (
        "httpsms",
        b'{"data":{"id":"32343a19"},"type":"message.phone.delivered"}',
        ("32343a19", "delivered", ""),
    ),
    (
        "textbee",
        b'{"smsBatchId":"6789","webhookEvent":"MESSAGE_SENT"}',
        ("6789", "sent", ""),
    ),
]


@pytest.mark.parametrize(("name", "raw", "word"), RECEIPTS)
def test_a_described_report_becomes_a_receipt(
    name: str, raw: bytes, word: tuple[str, str, str]
) -> None:
    assert words(report("http_gateway", raw, described(name))) == [word]


def test_a_described_inbound_message_is_taken() -> None:
    raw = b'{"type":"inbound","message_id":"7","sender":"2348179803743","message":"STOP"}'
    (inbound,) = report("http_gateway", raw, described("termii")).inbound
    assert (inbound.message_id, inbound.sender, inbound.text) == ("7", RECIPIENT, "STOP")
    written = b"MessageUUID=8&Type=sms&From=2348179803743&To=1&Text=STOP"
    (inbound,) = report("http_gateway", written, described("plivo")).inbound
    assert (inbound.message_id, inbound.sender, inbound.text) == ("8", RECIPIENT, "STOP")


ANSWERS: list[tuple[str, Answer, type[SendError], str]] = [
    (
        "vonage",
        said(200, {"messages": [{"status": "1", "error-text": "Throttled"}]}),
        BlockedError,
        "1",
    ),
    ("vonage", said(200, {"messages": [{"status": "6"}]}), PermanentError, "6"),
    ("vonage", said(200, {"messages": [{"status": "77"}]}), UnknownCodeError, "77"),
    ("vonage", said(200, {"messages": [{"status": "0"}]}), UncertainError, "no_id"),
    ("termii", said(200, {"code": "no", "message": "?"}), UncertainError, "http_200"),
    ("jasmin", said(403, b'Error "Authentication failure"'), BlockedError, "http_403"),
    ("kannel", said(503, b"3: Temporal failure, try again later."), RetryableError, "http_503"),
    ("infobip", said(200, b"[" * 100_000), UncertainError, "http_200"),
]


@pytest.mark.parametrize(("name", "answer", "kind", "code"), ANSWERS)
def test_a_described_answer_is_told_for_what_it_is(
    tmp_path: Path, name: str, answer: Answer, kind: type[SendError], code: str
) -> None:
    error = sent(opened("http_gateway", described(name), tmp_path), answer).error
    assert (type(error), getattr(error, "code", "")) == (kind, code)


def test_a_value_is_never_read_as_a_placeholder(tmp_path: Path) -> None:
    driver = opened("http_gateway", described("termii"), tmp_path)
    text = "{{api_key}} {{to}}"
    held = sent(driver, said(200, {"code": "ok", "message_id": "1"}), text)
    assert body(held.requests[0])["sms"] == text


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"body": {"to": "{{to}}"}}, "body"),
    ({"body": {"to": "{{to}}", "text": "{{text}}", "key": "{{unknown}}"}}, "body"),
    ({"body": {"to": "{{to}}", "text": "{{text}}", "a": "x" * 9_000}}, "body"),
    ({"headers": {"X-A": "one\r\nX-B: two"}}, "headers"),
    ({"headers": {"X A": "one"}}, "headers"),
    ({"headers": {"content-Length": "0"}}, "headers"),
    ({"headers": {"Transfer-Encoding": "chunked"}}, "headers"),
    ({"headers": {"Host": "inside.example"}}, "headers"),
    ({"id": "a..b"}, "id"),
    ({"id": {"after": 1}}, "id"),
    ({"receipt": {"id": "id", "status": "s", "states": {"lost": ["x"]}}}, "receipt"),
    ({"codes": {"nobody": ["1"]}}, "codes"),
    ({"path": "no-slash"}, "path"),
    ({"base_url": "file:///etc/passwd"}, "base_url"),
    ({"sender": "123456789012345678"}, "sender"),
]


@pytest.mark.parametrize(("change", "field"), WRONG)
def test_a_description_that_cannot_work_is_refused(change: dict[str, Any], field: str) -> None:
    schema = Channels(DriverContext(Path())).settings_schema("http_gateway")
    with pytest.raises(ValidationError) as caught:
        schema().load({**described("termii"), **change})
    assert field in caught.value.messages_dict


def test_a_check_asks_for_the_described_path(tmp_path: Path) -> None:
    held = converse(opened("http_gateway", described("termii"), tmp_path).check(), said(200, {}))
    assert held.requests[0].url.endswith("/api/get-balance?api_key=your-api-key")
    refused = converse(opened("http_gateway", described("termii"), tmp_path).check(), said(401))
    assert isinstance(refused.error, BlockedError)
