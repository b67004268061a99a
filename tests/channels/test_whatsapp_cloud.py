"""What only the Cloud API's driver does: uploads, checks, and Meta's word afterwards."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from service.channels.answers import Answer
from service.channels.base import DriverContext
from service.channels.content import Content, MediaKind, Template
from service.channels.conversations import Talk
from service.channels.drivers import whatsapp_cloud
from service.channels.drivers.whatsapp_cloud import uploads
from service.channels.drivers.whatsapp_cloud.driver import Settings
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
)
from service.channels.steps import Conversation
from service.channels.webhooks import Receipt, ReceiptState, Report, WebhookCall
from tests import provider as lies
from tests.channels.conftest import SETTINGS, Memory, Opened, picture
from tests.channels.conversing import carry_out, converse, said
from tests.provider import Fault, Provider, Reply, Request, graph_error

RECIPIENT = "2348179803743"
MEGABYTE = 1024 * 1024


@pytest.mark.parametrize("index", ["0", 0])
def test_the_index_of_a_button_is_a_text_however_it_was_written(opened: Opened, index: Any) -> None:
    driver = opened("whatsapp_cloud")
    words = {"type": "body", "parameters": [{"type": "text", "text": "Ada"}]}
    button = {"type": "button", "sub_type": "quick_reply", "index": index, "parameters": []}
    template = driver.prepare(Template("sale", "en", (words, button)))

    (message,) = converse(driver.send(RECIPIENT, template, "d.0")).messages

    assert message["template"]["components"] == [words, {**button, "index": "0"}]


def test_a_file_is_uploaded_once_and_sent_by_its_id(
    opened: Opened, media_ids: Memory, tmp_path: Path
) -> None:
    driver = opened("whatsapp_cloud")
    cake = picture(tmp_path)
    prepared = driver.prepare(cake)

    first, *others = (converse(driver.send(RECIPIENT, prepared, f"d.{n}")) for n in range(3))

    assert first.paths == ["media", "messages"]
    assert [each.paths for each in others] == [["messages"]] * 2
    purpose = {"messaging_product": "whatsapp", "type": "image/jpeg"}
    assert first.requests[0].form == (purpose, cake.path, "cake.jpeg", "image/jpeg")
    assert not first.requests[0].once
    assert {each.messages[0]["image"]["id"] for each in (first, *others)} == {"1000000"}
    assert media_ids.lifetimes == [29 * 86_400.0]


GONE = said(400, graph_error(100, "Invalid parameter", "Media ID is invalid"))


def test_a_file_that_meta_has_forgotten_is_uploaded_again(
    opened: Opened, media_ids: Memory, tmp_path: Path
) -> None:
    driver, cake = opened("whatsapp_cloud"), picture(tmp_path)
    media_ids.put(cake.attachment_id, "999", lifetime=1.0)

    held = converse(driver.send(RECIPIENT, driver.prepare(cake), "d.0"), GONE)

    assert held.result
    assert held.paths == ["messages", "media", "messages"]
    assert [each["image"]["id"] for each in held.messages] == ["999", "1000000"]
    assert media_ids.ids == {cake.attachment_id: "1000000"}


def test_a_file_that_meta_forgets_at_once_is_refused(opened: Opened, tmp_path: Path) -> None:
    driver = opened("whatsapp_cloud")
    prepared = driver.prepare(picture(tmp_path))

    held = converse(driver.send(RECIPIENT, prepared, "d.0"), None, GONE, None, GONE)

    assert isinstance(held.error, RequestError)
    assert held.paths == ["media", "messages"] * 2


UPLOADS: list[tuple[Answer | SendError, type[SendError]]] = [
    (said(400, graph_error(190, "Expired")), BlockedError),
    (said(400, graph_error(131053, "Media upload error")), RetryableError),
    (said(500, b"<html>"), RetryableError),
    (said(200, {"fortune": "soon"}), RetryableError),
    (RetryableError("Away.", code="unreachable"), RetryableError),
]


@pytest.mark.parametrize(("answer", "kind"), UPLOADS)
def test_an_upload_that_fails_is_never_uncertain_and_leaves_the_next_one_free(
    opened: Opened,
    media_ids: Memory,
    tmp_path: Path,
    answer: Answer | SendError,
    kind: type[SendError],
) -> None:
    driver = opened("whatsapp_cloud")
    prepared = driver.prepare(picture(tmp_path))

    held = converse(driver.send(RECIPIENT, prepared, "d.0"), answer)

    assert type(held.error) is kind
    assert held.messages == []
    assert media_ids.ids == {}
    assert converse(driver.send(RECIPIENT, prepared, "d.0")).result


def test_an_upload_that_takes_another_process_long_holds_the_session(
    opened: Opened, media_ids: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, cake = opened("whatsapp_cloud"), picture(tmp_path)
    monkeypatch.setattr(uploads, "_PATIENCE", 0.01)
    media_ids.reserve(cake.attachment_id, seconds=60.0)

    held = converse(driver.send(RECIPIENT, driver.prepare(cake), "d.0"))

    assert isinstance(held.error, BlockedError)
    assert held.error.wait == 0.01
    assert held.requests == []
    media_ids.put(cake.attachment_id, "1001", lifetime=60.0)
    after = converse(driver.send(RECIPIENT, driver.prepare(cake), "d.0"))
    assert after.messages[0]["image"]["id"] == "1001"


def test_a_conversation_that_is_broken_off_lets_the_next_one_upload(
    opened: Opened, media_ids: Memory, tmp_path: Path
) -> None:
    driver = opened("whatsapp_cloud")
    prepared = driver.prepare(picture(tmp_path))
    broken_off = driver.send(RECIPIENT, prepared, "d.0")
    next(broken_off)
    broken_off.close()

    held = converse(driver.send(RECIPIENT, prepared, "d.1"))

    assert held.result
    assert held.pauses == []
    assert media_ids.ids


# Over real HTTP: many conversations that want one file


def send_all(context: DriverContext, *sends: Conversation[str]) -> list[Talk]:
    ended = carry_out(context, {str(number): each for number, each in enumerate(sends)})
    return list(ended.values())


def test_a_picture_for_a_thousand_people_is_uploaded_once(
    opened: Opened, provider: Provider, context: DriverContext, tmp_path: Path
) -> None:
    driver = opened("whatsapp_cloud", base_url=provider.url)
    cake = picture(tmp_path)
    prepared = driver.prepare(cake)

    sends = [driver.send(RECIPIENT, prepared, f"d.{number}") for number in range(1000)]
    ids = {each.result for each in send_all(context, *sends)}

    assert len(ids) == len(provider.taken) == 1000
    assert len(provider.uploads) == 1
    form = provider.uploads[0].form
    assert form["file"] == ("cake.jpeg", "image/jpeg", cake.path.read_bytes())
    assert (form["messaging_product"][2], form["type"][2]) == (b"whatsapp", b"image/jpeg")


def test_a_file_that_meta_has_forgotten_is_uploaded_again_once_for_all(
    opened: Opened,
    provider: Provider,
    context: DriverContext,
    media_ids: Memory,
    tmp_path: Path,
) -> None:
    driver, cake = opened("whatsapp_cloud", base_url=provider.url), picture(tmp_path)
    prepared = driver.prepare(cake)
    media_ids.put(cake.attachment_id, "999", lifetime=1.0)

    sends = [driver.send(RECIPIENT, prepared, f"d.{number}") for number in range(100)]

    assert {each.error for each in send_all(context, *sends)} == {None}
    assert len(provider.taken) == 100
    assert len(provider.uploads) == 1


def test_conversations_that_wait_for_an_upload_share_its_failure(
    opened: Opened, provider: Provider, context: DriverContext, tmp_path: Path
) -> None:
    driver = opened("whatsapp_cloud", base_url=provider.url)
    prepared = driver.prepare(picture(tmp_path))
    provider.choose = _for_uploads(Fault(_say_later(503)))

    sends = [driver.send(RECIPIENT, prepared, f"d.{number}") for number in range(8)]

    errors = [each.error for each in send_all(context, *sends)]
    assert [getattr(each, "code", each) for each in errors] == ["http_503"] * 8
    assert len(provider.uploads) == 1


def test_a_file_that_another_process_uploads_is_waited_for(
    opened: Opened, provider: Provider, context: DriverContext, tmp_path: Path
) -> None:
    processes = [opened("whatsapp_cloud", base_url=provider.url) for _ in range(4)]
    cake = picture(tmp_path)
    provider.choose = _for_uploads(lies.late(0.3))

    send_all(context, *(each.send(RECIPIENT, each.prepare(cake), "d.0") for each in processes))

    assert len(provider.taken) == 4
    assert len(provider.uploads) == 1


SHOWN = [
    ("a picture", MediaKind.IMAGE, "image/jpeg", 5 * MEGABYTE, MediaKind.IMAGE),
    ("a picture too large", MediaKind.IMAGE, "image/jpeg", 5 * MEGABYTE + 1, MediaKind.DOCUMENT),
    ("a picture it does not know", MediaKind.IMAGE, "image/webp", 1, MediaKind.DOCUMENT),
    ("a voice message", MediaKind.AUDIO, "audio/ogg; codecs=opus", 1, MediaKind.AUDIO),
    ("a film too large", MediaKind.VIDEO, "video/mp4", 17 * MEGABYTE, MediaKind.DOCUMENT),
    ("a document", MediaKind.DOCUMENT, "application/pdf", 99 * MEGABYTE, MediaKind.DOCUMENT),
]


@pytest.mark.parametrize(
    ("kind", "mimetype", "size", "shown"), [pytest.param(*row, id=name) for name, *row in SHOWN]
)
def test_what_whatsapp_does_not_show_goes_as_a_document(  # noqa: PLR0913, PLR0917 - a row
    opened: Opened, tmp_path: Path, kind: MediaKind, mimetype: str, size: int, shown: MediaKind
) -> None:
    file = picture(tmp_path, kind=kind, mimetype=mimetype, size=size)

    (part,) = opened("whatsapp_cloud").plan(Content(media=(file,)))

    assert part == picture(tmp_path, kind=shown, mimetype=mimetype, size=size)


def test_a_number_that_can_send_passes_the_check(opened: Opened) -> None:
    held = converse(opened("whatsapp_cloud").check(), said(200, {"id": "1", "status": "CONNECTED"}))

    (request,) = held.requests
    assert held.result is None
    assert request.url.startswith("https://provider.example/v26.0/106540352242922?fields=id,")
    assert "display_phone_number" in request.url


CHECKS: list[tuple[Answer, str]] = [
    (said(200, {"id": "1", "status": "BANNED"}), "banned"),
    (said(200, {"id": "1", "status": "PENDING"}), "not registered"),
    (said(200, {"fortune": "soon"}), "base URL"),
    (said(401, graph_error(190, "Invalid OAuth access token")), "token is no longer valid"),
]


@pytest.mark.parametrize(("answer", "words"), CHECKS)
def test_the_check_says_in_words_what_is_wrong(opened: Opened, answer: Answer, words: str) -> None:
    held = converse(opened("whatsapp_cloud").check(), answer)

    with pytest.raises(BlockedError, match=words) as caught:
        _ = held.result
    assert caught.value.wait is None


def test_a_check_that_gets_no_answer_says_nothing_about_the_session(opened: Opened) -> None:
    away = RetryableError("Away.", code="unreachable")

    assert converse(opened("whatsapp_cloud").check(), away).error is away


@pytest.mark.parametrize(
    "wrong",
    [
        {"phone_number_id": "+234 817"},
        {"access_token": "two\r\nlines"},
        {"access_token": ""},
        {"base_url": "https://user:word@graph.facebook.com"},
        {"base_url": "file:///etc/passwd"},
        {"version": "23"},
        {"colour": "blue"},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings().load({**SETTINGS["whatsapp_cloud"], **wrong})


def test_the_handshake_is_answered_to_whoever_knows_the_token() -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": "s3cret", "hub.challenge": "1158201444"}

    assert whatsapp_cloud.challenge(asked, {"verify_token": "s3cret"}) == "1158201444"
    assert whatsapp_cloud.challenge(asked, {"verify_token": "other"}) is None
    assert whatsapp_cloud.challenge(asked, {"verify_token": ""}) is None
    assert whatsapp_cloud.challenge({**asked, "hub.verify_token": ""}, {}) is None
    assert whatsapp_cloud.challenge({}, {"verify_token": "s3cret"}) is None


def signed(body: bytes, signature: str) -> WebhookCall:
    return WebhookCall(body, {whatsapp_cloud.SIGNATURE_HEADER.lower(): signature}, {}, "")


def test_one_byte_more_or_less_breaks_the_signature() -> None:
    raw = b'{"object":"whatsapp_business_account","entry":[]}'
    signature = f"sha256={hmac.new(b'app-secret', raw, hashlib.sha256).hexdigest()}"
    settings = {"app_secret": "app-secret"}

    assert whatsapp_cloud.is_authentic(signed(raw, signature), settings)
    assert not whatsapp_cloud.is_authentic(signed(raw + b" ", signature), settings)
    assert not whatsapp_cloud.is_authentic(signed(raw, signature), {"app_secret": "other"})
    assert not whatsapp_cloud.is_authentic(signed(raw, ""), settings)
    unsigned = f"sha256={hmac.new(b'', raw, hashlib.sha256).hexdigest()}"
    assert not whatsapp_cloud.is_authentic(signed(raw, unsigned), {"app_secret": ""})


def test_statuses_become_receipts() -> None:
    wamid = "wamid.HBgLMTY1MDM4Nzk0MzkVAgARGBJFNjk2OTMwNEZCQjhGMzUyQUYA"
    usual = {"id": wamid, "timestamp": "1750030073", "recipient_id": "16505551234"}
    error = {
        "code": 131050,
        "title": "Unable to deliver",
        "message": "Unable to deliver",
        "error_data": {"details": "The user has stopped receiving marketing messages"},
        "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
    }
    statuses: list[dict[str, Any]] = [
        {**usual, "status": "played"},
        {**usual, "status": "sent", "biz_opaque_callback_data": "64ac509d05a7cc2b8c000001.0"},
        {**usual, "status": "delivered", "pricing": {"billable": True, "category": "service"}},
        {**usual, "status": "read"},
        {**usual, "status": "failed", "errors": [error]},
        {**usual, "status": "warning"},
    ]

    report = whatsapp_cloud.parse_report(_webhook(statuses), SETTINGS["whatsapp_cloud"])

    played, sent, delivered, read, failed = [
        each for each in report.words if isinstance(each, Receipt)
    ]
    reference, person = "64ac509d05a7cc2b8c000001.0", "16505551234"
    assert sent == Receipt(wamid, ReceiptState.SENT, reference, (person,))
    assert delivered == Receipt(wamid, ReceiptState.DELIVERED, recipients=(person,))
    assert read.state is played.state is ReceiptState.READ
    assert failed.state is ReceiptState.FAILED
    assert isinstance(failed.error, PermanentError)
    assert (failed.error.code, failed.error.opted_out) == ("131050", True)
    assert "does not want" in failed.error.reason
    assert "stopped receiving" in failed.error.reason
    assert report.odd == 0


def test_what_is_about_another_number_is_left_out() -> None:
    status = {"id": "wamid.1", "status": "sent", "timestamp": "1", "recipient_id": "1"}

    report = whatsapp_cloud.parse_report(_webhook([status], "555"), SETTINGS["whatsapp_cloud"])

    assert report == Report()


def _webhook(statuses: list[dict[str, Any]], number: str = "106540352242922") -> bytes:
    """Return a webhook's body as in Meta's own examples."""
    metadata = {"display_phone_number": "15550783881", "phone_number_id": number}
    value = {"messaging_product": "whatsapp", "metadata": metadata, "statuses": statuses}
    said = {"id": "w", "from": "16505551234", "type": "text", "text": {"body": "Hi"}}
    incoming = {"messaging_product": "whatsapp", "metadata": metadata, "messages": [said]}
    changes = [
        {"value": value, "field": "messages"},
        {"value": incoming, "field": "messages"},
        {"value": {"event": "APPROVED"}, "field": "message_template_status_update"},
    ]
    return json.dumps(
        {
            "object": "whatsapp_business_account",
            "entry": [{"id": "102290129340398", "changes": changes}],
        }
    ).encode()


def _for_uploads(fault: Fault) -> Callable[[Request], Fault | None]:
    return lambda request: fault if request.path.endswith("/media") else None


def _say_later(status: int) -> Callable[..., None]:
    return lambda to, _usual: to.say_later(0.2, bytes(Reply(status)))
