"""Webhooks with odd elements: what is understood is taken, the rest is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.channels.drivers.waha import Waha
from service.channels.drivers.whatsapp_cloud import WhatsAppCloud
from service.channels.errors import BlockedError, PermanentError, RetryableError
from service.channels.webhooks import Notice, Receipt, Report, UnreadableReportError, Webhook

NUMBER = "106540352242922"
SETTINGS = {"phone_number_id": NUMBER}
GOOD = {"id": "wamid.good", "status": "read", "timestamp": "1750030073", "recipient_id": "1"}
METADATA = {"display_phone_number": "15550783881", "phone_number_id": NUMBER}
ACK = {"id": "true_1@c.us_AAAA", "ack": 2, "ackName": "DEVICE", "fromMe": True}


def cloud(*values: Any) -> dict[str, Any]:
    changes = [{"field": "messages", "value": value} for value in values]
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}


def value(*statuses: Any, **more: Any) -> dict[str, Any]:
    return {"metadata": METADATA, "statuses": list(statuses), **more}


def parsed(webhook: Webhook | None, said: object) -> Report:
    assert webhook
    return webhook.parse(json.dumps(said).encode(), SETTINGS)


CLOUD: list[tuple[object, int, int]] = [
    (cloud(value(GOOD)), 1, 0),
    (cloud({"statuses": [GOOD]}, value(GOOD)), 1, 1),
    (cloud({"metadata": None, "statuses": [GOOD]}, value(GOOD)), 1, 1),
    (cloud({"metadata": 7, "statuses": [GOOD]}), 0, 1),
    (cloud(value(GOOD, metadata={"phone_number_id": int(NUMBER)})), 1, 0),
    (cloud(None, value(GOOD)), 1, 0),
    (cloud(7, value(GOOD)), 1, 1),
    (cloud({"metadata": METADATA, "statuses": None}, value(GOOD)), 1, 0),
    (cloud({"metadata": METADATA, "statuses": "none"}, value(GOOD)), 1, 1),
    (cloud({"metadata": METADATA, "statuses": GOOD}), 1, 0),
    (cloud(value(None, 7, "read", [], GOOD)), 1, 4),
    (cloud(value({**GOOD, "status": None}, GOOD)), 1, 1),
    (cloud(value({"id": "wamid.1"}, GOOD)), 1, 1),
    (cloud(value({**GOOD, "id": None}, {**GOOD, "id": 7}, GOOD)), 1, 2),
    (cloud(value({**GOOD, "timestamp": "soon"}, {**GOOD, "timestamp": None})), 2, 0),
    (cloud(value({**GOOD, "status": "failed", "errors": None})), 1, 0),
    (cloud(value({**GOOD, "status": "failed", "errors": [7]})), 1, 1),
    (cloud(value({**GOOD, "biz_opaque_callback_data": {"a": 1}, "recipient_id": 5})), 1, 0),
    (cloud(value({**GOOD, "status": "a new word"})), 0, 0),
    ({"entry": [None, 7, {"changes": None}, {"changes": [7]}, *cloud(value(GOOD))["entry"]]}, 1, 3),
    ({"entry": 5}, 0, 1),
    ({}, 0, 0),
    (None, 0, 0),
    ("words", 0, 1),
]


@pytest.mark.parametrize(("said", "words", "odd"), CLOUD)
def test_of_metas_webhook_all_is_taken_that_can_be(said: object, words: int, odd: int) -> None:
    report = parsed(WhatsAppCloud.webhook, said)
    assert (len(report.words), report.odd) == (words, odd)


def event(payload: object = ACK, **more: Any) -> dict[str, Any]:
    return {"event": "message.ack", "session": "default", "payload": payload, **more}


WAHA: list[tuple[object, int, int]] = [
    (event(), 1, 0),
    (event({**ACK, "id": None}), 0, 1),
    (event({**ACK, "id": {"_serialized": "true_1@c.us_AAAA"}}), 0, 1),
    (event({**ACK, "ack": None}), 0, 1),
    (event({**ACK, "ack": "2"}), 0, 1),
    (event({**ACK, "ack": True}), 0, 1),
    (event({**ACK, "ack": 0}), 0, 0),
    (event(None), 0, 0),
    (event("payload"), 0, 1),
    (event(timestamp="soon"), 1, 0),
    (event(session=7), 0, 0),
    (event({"status": None}, event="session.status"), 0, 1),
    (event({"status": "WORKING"}, event="session.status", me=7), 1, 0),
    ({"session": "default"}, 0, 0),
    (["event"], 0, 1),
    (None, 0, 0),
]


@pytest.mark.parametrize(("said", "words", "odd"), WAHA)
def test_of_wahas_webhook_all_is_taken_that_can_be(said: object, words: int, odd: int) -> None:
    report = parsed(Waha.webhook, said)
    assert (len(report.words), report.odd) == (words, odd)


@pytest.mark.parametrize("webhook", [Waha.webhook, WhatsAppCloud.webhook])
@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"[" * 100_000, b"[" * 99 + b"]" * 99, b"[%s1]" % (b"[]," * 100_000)],
)
def test_what_is_no_json_is_unreadable(webhook: Webhook | None, raw: bytes) -> None:
    assert webhook
    with pytest.raises(UnreadableReportError):
        webhook.parse(raw, SETTINGS)


def test_an_error_of_metas_account_is_a_notice() -> None:
    locked = {"code": 131031, "title": "Locked", "error_data": {"details": "By Meta."}}
    (notice,) = parsed(WhatsAppCloud.webhook, cloud(value(errors=[locked]))).words
    assert isinstance(notice, Notice)
    assert isinstance(notice.error, BlockedError)
    assert (notice.error.code, notice.error.wait) == ("131031", None)


@pytest.mark.parametrize(
    ("status", "wait"), [("FAILED", None), ("SCAN_QR_CODE", None), ("STARTING", 10.0)]
)
def test_a_waha_session_that_cannot_send_is_a_notice(status: str, wait: float | None) -> None:
    said = event({"name": "default", "status": status}, event="session.status")
    (notice,) = parsed(Waha.webhook, said).words
    assert isinstance(notice, Notice)
    assert isinstance(notice.error, BlockedError)
    assert (notice.error.code, notice.error.wait) == (status.lower(), wait)


def test_a_waha_session_that_works_is_a_notice_without_an_error_unless_it_is_restricted() -> None:
    working = event({"name": "default", "status": "WORKING"}, event="session.status")
    lock = {"isActive": True, "timeEnforcementEnds": "2100-01-01T00:00:00Z"}
    assert parsed(Waha.webhook, working).words == [Notice(None)]
    free, notice = parsed(Waha.webhook, {**working, "me": {"reachoutTimelock": lock}}).words
    assert free == Notice(None)  # it is not stopped any more, whatever else
    assert isinstance(notice, Notice)
    assert isinstance(notice.error, BlockedError)
    assert notice.error.code == "restricted"


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, RetryableError),
        ({"error": "No LID for user"}, PermanentError),
        ({"error": "server returned error 463"}, BlockedError),
        ({"_data": {"messageStubParameters": ["463"]}}, BlockedError),
        ({"_data": {"messageStubParameters": ["479"]}}, RetryableError),
        ({"_data": {"messageStubParameters": None}}, RetryableError),
        ({"_data": 7}, RetryableError),
    ],
)
def test_wahas_word_of_a_failure_means_what_an_answer_would(
    more: dict[str, Any], kind: type[Exception]
) -> None:
    (receipt,) = parsed(Waha.webhook, event({**ACK, "ack": -1, **more})).words
    assert isinstance(receipt, Receipt)
    assert type(receipt.error) is kind
