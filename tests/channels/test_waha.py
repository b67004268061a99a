"""What only WAHA's driver does: ids of our own, files, checks, and WAHA's word afterwards."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from service.channels.base import (
    BlockedError,
    ContactCard,
    Location,
    Receipt,
    ReceiptState,
    Report,
    RetryableError,
    Text,
    UncertainError,
)
from service.channels.drivers import waha
from service.channels.drivers.waha.driver import Settings
from service.channels.drivers.waha.message_ids import mint
from tests import provider as lies
from tests.channels.conftest import Opened, picture
from tests.provider import Fault, Provider, instead

RECIPIENT = "2348179803743"
REFERENCE = "64ac509d05a7cc2b8c000001.0"


def test_a_repeat_under_the_same_reference_is_delivered_once(
    opened: Opened, provider: Provider
) -> None:
    driver = opened("waha")
    prepared = driver.prepare(Text("Hello"))
    provider.then(lies.RESET_AFTER_BODY)

    with pytest.raises(UncertainError) as caught:
        driver.send(RECIPIENT, prepared, REFERENCE)
    message_id = opened("waha").send(RECIPIENT, prepared, REFERENCE)

    assert caught.value.provider_id == message_id == mint(REFERENCE)
    assert len(provider.messages) == 2
    assert [each.message_id for each in provider.taken] == [message_id]


def test_a_file_has_no_id_of_ours_and_its_repeat_is_not_harmless(
    opened: Opened, provider: Provider, tmp_path: Path
) -> None:
    driver = opened("waha")
    provider.then(lies.RESET_AFTER_BODY)

    with pytest.raises(UncertainError) as caught:
        driver.send(RECIPIENT, driver.prepare(picture(tmp_path)), REFERENCE)

    assert caught.value.provider_id == ""
    assert not driver.may_repeat(picture(tmp_path))


@pytest.mark.parametrize("takes_ids", [True, False])
def test_what_has_an_id_of_ours_may_be_repeated_where_the_engine_takes_it(
    opened: Opened,
    provider: Provider,
    takes_ids: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    driver = opened("waha")
    provider.engine_takes_ids = takes_ids

    for part in (Text("Hello"), Location("6.5", "3.2"), ContactCard("Ada", "BEGIN:VCARD")):
        assert driver.may_repeat(part) is takes_ids

    assert provider.messages == []


def test_whether_a_repeat_does_harm_is_not_guessed(opened: Opened, provider: Provider) -> None:
    provider.choose = _for_questions(instead(503, b"<html>"))

    with pytest.raises(RetryableError):
        opened("waha").may_repeat(Text("Hello"))


def test_an_engine_that_takes_no_ids_is_given_none(opened: Opened, provider: Provider) -> None:
    driver = opened("waha")
    provider.engine_takes_ids = False
    provider.then(None, lies.RESET_AFTER_BODY)

    driver.send(RECIPIENT, driver.prepare(Text("Hello")), REFERENCE)
    with pytest.raises(UncertainError) as caught:
        driver.send(RECIPIENT, driver.prepare(Text("Hello")), REFERENCE)

    assert caught.value.provider_id == ""
    assert all("id" not in each.json for each in provider.messages)
    assert [each.method for each in provider.requests] == ["GET", "POST", "POST"]


def test_an_engine_that_ignores_our_id_is_given_none_any_more(
    opened: Opened, provider: Provider
) -> None:
    driver = opened("waha")
    provider.then(instead(201, {"id": "true_2348179803743@c.us_3EB0FFFF"}, takes=True), None)

    assert driver.send(RECIPIENT, driver.prepare(Text("Hello")), REFERENCE) == "3EB0FFFF"
    driver.send(RECIPIENT, driver.prepare(Text("Hello")), REFERENCE)

    assert ["id" in each.json for each in provider.messages] == [True, False]


def test_an_engine_that_does_not_say_whether_it_takes_ids_is_asked_again(
    opened: Opened, provider: Provider
) -> None:
    driver = opened("waha")
    provider.choose = _for_questions(instead(503, b"<html>"))

    with pytest.raises(RetryableError):
        driver.send(RECIPIENT, driver.prepare(Text("Hello")), REFERENCE)

    assert provider.messages == []
    provider.choose = lambda _request: None
    assert driver.send(RECIPIENT, driver.prepare(Text("Hello")), REFERENCE) == mint(REFERENCE)


@pytest.mark.parametrize(
    ("settings", "changes"), [({"files": "inline"}, {}), ({"files": "link"}, {"url": ""})]
)
def test_a_file_goes_in_the_request_where_waha_cannot_fetch_it(
    opened: Opened,
    provider: Provider,
    tmp_path: Path,
    settings: dict[str, str],
    changes: dict[str, str],
) -> None:
    driver = opened("waha", **settings)
    cake = picture(tmp_path, **changes)

    driver.send(RECIPIENT, driver.prepare(cake), REFERENCE)

    file = provider.messages[0].json["file"]
    assert base64.b64decode(file["data"]) == cake.path.read_bytes()
    assert "url" not in file


ANSWERS: list[tuple[Any, str]] = [
    ({"id": "true_2348179803743@c.us_3EB0AA"}, "3EB0AA"),
    ({"id": "true_1203@g.us_3EB0AA_2348179803743@c.us"}, "3EB0AA"),
    ({"id": {"_serialized": "true_1@c.us_3EB0AA", "id": "3EB0AA"}}, "3EB0AA"),
    ({"id": {"id": "3EB0AA", "fromMe": True}}, "3EB0AA"),
    ({"key": {"id": "3EB0AA", "remoteJid": "1@s.whatsapp.net"}}, "3EB0AA"),
]


@pytest.mark.parametrize(("answer", "known_as"), ANSWERS)
def test_every_engine_shapes_the_id_in_its_own_way(
    opened: Opened, provider: Provider, tmp_path: Path, answer: Any, known_as: str
) -> None:
    driver = opened("waha")
    provider.then(instead(201, answer, takes=True))

    assert driver.send(RECIPIENT, driver.prepare(picture(tmp_path)), REFERENCE) == known_as


@pytest.mark.parametrize("body", [b"", {}, {"ack": 0}])
def test_an_answer_without_an_id_is_one_where_waha_promises_none(
    opened: Opened, provider: Provider, tmp_path: Path, body: Any
) -> None:
    driver = opened("waha")
    provider.then(instead(201, body, takes=True), instead(201, body, takes=True))

    assert driver.send(RECIPIENT, driver.prepare(picture(tmp_path)), REFERENCE) == ""
    assert driver.send(RECIPIENT, driver.prepare(Text("Hello")), REFERENCE) == mint(REFERENCE)


def test_a_session_that_works_passes_the_check(opened: Opened, provider: Provider) -> None:
    opened("waha").check()

    asked = ["", "/timelock", "/capping"]
    assert [each.path for each in provider.requests] == [
        f"/api/sessions/default{route}" for route in asked
    ]


@pytest.mark.parametrize(
    ("status", "words", "wait"),
    [
        ("STOPPED", "start it", None),
        ("SCAN_QR_CODE", "scan its QR code", None),
        ("STARTING", "starting", 10.0),
        ("FAILED", "failed", None),
        ("", "of a kind", None),
    ],
)
def test_the_check_says_in_words_what_is_wrong(
    opened: Opened, provider: Provider, status: str, words: str, wait: float | None
) -> None:
    provider.session_status = status

    with pytest.raises(BlockedError, match=words) as caught:
        opened("waha").check()

    assert caught.value.wait == wait


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"session": "other"}, "no session 'other'"), ({"api_key": "stale"}, "Unauthorized")],
)
def test_the_check_tells_a_wrong_session_from_a_wrong_key(
    opened: Opened, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(BlockedError, match=words):
        opened("waha", **settings).check()


@pytest.mark.parametrize(
    "wrong", [{"base_url": ""}, {"session": "a/b"}, {"api_key": "a b"}, {"files": "fax"}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings().load({"base_url": "http://waha.example:3000", **wrong})


def test_an_id_is_made_from_the_reference_and_gives_it_back() -> None:
    assert mint(REFERENCE) == "3EB064AC509D05A7CC2B8C0000010000"
    assert _receipt_of(mint(REFERENCE)).reference == REFERENCE
    assert mint("64ac509d05a7cc2b8c000001.12") != mint("64ac509d05a7cc2b8c000001.1")


def test_an_id_is_made_from_any_other_reference_too() -> None:
    assert mint("check") == mint("check") != mint("check2")
    assert len(mint("check")) == 22
    assert _receipt_of(mint("check")).reference == ""


@pytest.mark.parametrize(
    ("ack", "state"),
    [
        (1, ReceiptState.SENT),
        (2, ReceiptState.DELIVERED),
        (3, ReceiptState.READ),
        (4, ReceiptState.READ),
    ],
)
def test_an_acknowledgement_becomes_a_receipt(ack: int, state: ReceiptState) -> None:
    report = waha.parse_report(_webhook(ack=ack), {})

    assert [_said(each) for each in report.words] == [("AAAAAAAAAAAAAAAAAAAA", state)]
    assert all(isinstance(each, Receipt) and not each.error for each in report.words)


@pytest.mark.parametrize(
    "changes",
    [{"ack": 0}, {"fromMe": False}, {"event": "message"}, {"session": "other"}, {"ack": 7}],
)
def test_what_is_no_news_of_a_message_of_ours_is_left_out(changes: dict[str, Any]) -> None:
    assert waha.parse_report(_webhook(**changes), {}) == Report()


def test_one_byte_more_or_less_breaks_the_signature() -> None:
    raw = _webhook()
    signature = hmac.new(b"hook-key", raw, hashlib.sha512).hexdigest()
    settings = {"webhook_key": "hook-key"}

    assert waha.is_authentic(raw, signature, settings)
    assert not waha.is_authentic(raw[:-1], signature, settings)
    assert not waha.is_authentic(raw, "", settings)
    assert not waha.is_authentic(raw, "é", settings)
    assert not waha.is_authentic(raw, signature, {})


def test_the_signature_is_that_of_wahas_own_example() -> None:
    raw = b'{"event":"message","session":"default","engine":"WEBJS"}'
    said = (
        "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8"
        "097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89"
    )

    assert waha.is_authentic(raw, said, {"webhook_key": "my-secret-key"})


def _webhook(**changes: Any) -> bytes:
    """Return a webhook's body with the values of WAHA's own examples."""
    payload = {
        "id": "true_11111111111@c.us_AAAAAAAAAAAAAAAAAAAA",
        "from": "11111111111@c.us",
        "to": "11111111111@c.us",
        "participant": "11111111111@c.us",
        "fromMe": changes.pop("fromMe", True),
        "ack": changes.pop("ack", 2),
        "ackName": "DEVICE",
    }
    payload["id"] = changes.pop("id", payload["id"])
    event = {
        "id": "evt_01aaaaaaaaaaaaaaaaaaaaaaaa",
        "timestamp": 1634567890123,
        "session": "default",
        "engine": "WEBJS",
        "event": "message.ack",
        "payload": payload,
    }
    return json.dumps({**event, **changes}).encode()


def _receipt_of(key: str) -> Receipt:
    (receipt,) = waha.parse_report(_webhook(id=f"true_11111111111@c.us_{key}"), {}).words
    assert isinstance(receipt, Receipt)
    return receipt


def _said(word: object) -> tuple[str, ReceiptState]:
    assert isinstance(word, Receipt)
    return word.provider_id, word.state


def _for_questions(fault: Fault) -> Any:
    return lambda request: fault if request.method == "GET" else None
