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

from service.channels.answers import Answer
from service.channels.content import ContactCard, Location, Part, Text
from service.channels.drivers import waha
from service.channels.drivers.waha.driver import Settings
from service.channels.drivers.waha.message_ids import mint
from service.channels.errors import BlockedError, RetryableError, UncertainError
from service.channels.webhooks import Receipt, ReceiptState, Report, WebhookCall
from tests.channels.conftest import Opened, picture
from tests.channels.conversing import converse, said

RECIPIENT = "2348179803743"
REFERENCE = "64ac509d05a7cc2b8c000001.0"


LOST = UncertainError("The answer was lost.", code="no_answer")
TAKES_IDS = said(200, {"id": "3EB0AA"})
TAKES_NONE = said(422, {"message": "The method is not implemented by the engine."})


def test_a_repeat_under_the_same_reference_has_the_same_id(opened: Opened) -> None:
    driver = opened("waha")
    prepared = driver.prepare(Text("Hello"))

    first = converse(driver.send(RECIPIENT, prepared, REFERENCE), TAKES_IDS, LOST)
    second = converse(opened("waha").send(RECIPIENT, prepared, REFERENCE))

    assert isinstance(first.error, UncertainError)
    assert first.error.provider_id == second.result == mint(REFERENCE)
    assert [each["id"] for each in first.messages + second.messages] == [mint(REFERENCE)] * 2


def test_a_file_has_no_id_of_ours_and_its_repeat_is_not_harmless(
    opened: Opened, tmp_path: Path
) -> None:
    driver = opened("waha")

    held = converse(driver.send(RECIPIENT, driver.prepare(picture(tmp_path)), REFERENCE), LOST)

    assert isinstance(held.error, UncertainError)
    assert held.error.provider_id == ""
    assert not converse(driver.may_repeat(picture(tmp_path))).result


@pytest.mark.parametrize("takes_ids", [True, False])
def test_what_has_an_id_of_ours_may_be_repeated_where_the_engine_takes_it(
    opened: Opened,
    takes_ids: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    driver = opened("waha")
    others: list[Part] = [Location("6.5", "3.2"), ContactCard("Ada", "BEGIN:VCARD")]

    asked = converse(driver.may_repeat(Text("Hello")), TAKES_IDS if takes_ids else TAKES_NONE)

    assert asked.paths == ["new-message-id"]
    for held in (asked, *(converse(driver.may_repeat(part)) for part in others)):
        assert held.result is takes_ids
        assert held.messages == []


def test_whether_a_repeat_does_harm_is_not_guessed(opened: Opened) -> None:
    held = converse(opened("waha").may_repeat(Text("Hello")), said(503, b"<html>"))

    assert isinstance(held.error, RetryableError)


def test_an_engine_that_takes_no_ids_is_given_none(opened: Opened) -> None:
    driver = opened("waha")
    prepared = driver.prepare(Text("Hello"))

    first = converse(driver.send(RECIPIENT, prepared, REFERENCE), TAKES_NONE)
    second = converse(driver.send(RECIPIENT, prepared, REFERENCE), LOST)

    assert (first.paths, second.paths) == (["new-message-id", "sendText"], ["sendText"])
    assert all("id" not in each for each in first.messages + second.messages)
    assert isinstance(second.error, UncertainError)
    assert second.error.provider_id == ""


def test_an_engine_that_ignores_our_id_is_given_none_any_more(opened: Opened) -> None:
    driver = opened("waha")
    prepared = driver.prepare(Text("Hello"))
    another = said(201, {"id": "true_2348179803743@c.us_3EB0FFFF"})

    first = converse(driver.send(RECIPIENT, prepared, REFERENCE), TAKES_IDS, another)
    second = converse(driver.send(RECIPIENT, prepared, REFERENCE))

    assert first.result == "3EB0FFFF"
    assert ["id" in each for each in first.messages + second.messages] == [True, False]


def test_an_engine_that_does_not_say_whether_it_takes_ids_is_asked_again(opened: Opened) -> None:
    driver = opened("waha")
    prepared = driver.prepare(Text("Hello"))

    unsaid = converse(driver.send(RECIPIENT, prepared, REFERENCE), said(503, b"<html>"))
    told = converse(driver.send(RECIPIENT, prepared, REFERENCE), TAKES_IDS)

    assert isinstance(unsaid.error, RetryableError)
    assert unsaid.messages == []
    assert told.result == mint(REFERENCE)


@pytest.mark.parametrize(
    ("settings", "changes"), [({"files": "inline"}, {}), ({"files": "link"}, {"url": ""})]
)
def test_a_file_goes_in_the_request_where_waha_cannot_fetch_it(
    opened: Opened, tmp_path: Path, settings: dict[str, str], changes: dict[str, str]
) -> None:
    driver = opened("waha", **settings)
    cake = picture(tmp_path, **changes)

    held = converse(driver.send(RECIPIENT, driver.prepare(cake), REFERENCE))

    file = held.messages[0]["file"]
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
    opened: Opened, tmp_path: Path, answer: Any, known_as: str
) -> None:
    driver = opened("waha")
    prepared = driver.prepare(picture(tmp_path))

    assert converse(driver.send(RECIPIENT, prepared, REFERENCE), said(201, answer)).result == (
        known_as
    )


@pytest.mark.parametrize("body", [b"", {}, {"ack": 0}])
def test_an_answer_without_an_id_is_one_where_waha_promises_none(
    opened: Opened, tmp_path: Path, body: Any
) -> None:
    driver = opened("waha")
    file, words = driver.prepare(picture(tmp_path)), driver.prepare(Text("Hello"))
    nameless = said(201, body)

    assert converse(driver.send(RECIPIENT, file, REFERENCE), nameless).result == ""
    assert converse(driver.send(RECIPIENT, words, REFERENCE), TAKES_IDS, nameless).result == mint(
        REFERENCE
    )


def test_a_session_that_works_passes_the_check(opened: Opened) -> None:
    unknown = said(404, {"message": "Not Found"})
    held = converse(opened("waha").check(), said(200, {"status": "WORKING"}), unknown, unknown)

    assert held.result is None
    asked = "https://provider.example/api/sessions/default"
    assert [each.url for each in held.requests] == [asked, f"{asked}/timelock", f"{asked}/capping"]


@pytest.mark.parametrize(
    ("answer", "words", "wait"),
    [
        (said(200, {"status": "STOPPED"}), "start it", None),
        (said(200, {"status": "SCAN_QR_CODE"}), "scan its QR code", None),
        (said(200, {"status": "STARTING"}), "starting", 10.0),
        (said(200, {"status": "FAILED"}), "failed", None),
        (said(200, {"status": ""}), "unknown status", None),
        (said(200, b"<html>"), "unknown status", None),
        (said(404, {"message": "Session not found"}), "no session 'default'", None),
        (said(401, {"message": "Unauthorized"}), "Unauthorized", None),
    ],
)
def test_the_check_says_in_words_what_is_wrong(
    opened: Opened, answer: Answer, words: str, wait: float | None
) -> None:
    held = converse(opened("waha").check(), answer)

    with pytest.raises(BlockedError, match=words) as caught:
        _ = held.result
    assert caught.value.wait == wait


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


def signed(body: bytes, signature: str) -> WebhookCall:
    return WebhookCall(body, {waha.SIGNATURE_HEADER.lower(): signature}, {}, "")


def test_one_byte_more_or_less_breaks_the_signature() -> None:
    raw = _webhook()
    signature = hmac.new(b"hook-key", raw, hashlib.sha512).hexdigest()
    settings = {"webhook_key": "hook-key"}

    assert waha.is_authentic(signed(raw, signature), settings)
    assert not waha.is_authentic(signed(raw[:-1], signature), settings)
    assert not waha.is_authentic(signed(raw, ""), settings)
    assert not waha.is_authentic(signed(raw, "é"), settings)
    assert not waha.is_authentic(signed(raw, signature), {})


def test_the_signature_is_that_of_wahas_own_example() -> None:
    raw = b'{"event":"message","session":"default","engine":"WEBJS"}'
    said = (
        "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8"
        "097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89"
    )

    assert waha.is_authentic(signed(raw, said), {"webhook_key": "my-secret-key"})


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
