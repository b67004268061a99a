"""SMPP: what an SMSC gets, what its answers mean, and what it delivers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from marshmallow import ValidationError

from service.channels.base import Account, DriverContext, LinkedDriver
from service.channels.content import Content
from service.channels.conversations import talk
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
from service.channels.steps import NotAllowedError
from service.channels.webhooks import Notice, ReceiptState, Report
from tests.channels.conftest import Memory
from tests.smsc import Smsc, needs_smsc
from tests.waiting import LIMIT, until
from tests.world import ADA

pytest.importorskip("smpplib", reason="the optional package smpplib is not installed")
pytestmark = needs_smsc

SESSION, REFERENCE = "64ac509d05a7cc2b8c0000aa", "64ac509d05a7cc2b8c000001.0"


class Linked:
    """A driver with its link, and what came through it."""

    def __init__(self, context: DriverContext, url: str, **settings: Any) -> None:
        given = {"base_url": url, "system_id": "crier", "password": "secret", **settings}
        channels = Channels(context)
        loaded = channels.settings_schema("smpp")().load(given)
        driver = channels.open("smpp", Account(SESSION, loaded, Memory()))
        self.context = context
        self.driver = cast("LinkedDriver", driver)
        self.heard: list[Report] = []
        self.fault: Exception | None = None

    def hear(self, report: Report) -> None:
        if self.fault:
            raise self.fault
        self.heard.append(report)

    @contextmanager
    def up(self) -> Iterator[None]:
        links = self.context.links
        links.keep(SESSION, self.driver.link(self.hear))
        try:
            until(lambda: links.is_up(SESSION))
            yield
        finally:
            links.drop(SESSION)

    def send(self, text: str = "Hello") -> str:
        (part,) = self.driver.plan(Content(text))
        prepared = self.driver.prepare(part)
        return talk(self.driver.send(ADA, prepared, REFERENCE), self.context)

    def words(self) -> list[Any]:
        return [word for report in self.heard for word in report.words]

    def inbound(self) -> list[Any]:
        return [message for report in self.heard for message in report.inbound]


@pytest.fixture
def context(tmp_path: Path) -> DriverContext:
    return DriverContext(
        tmp_path, private_addresses=True, connect_timeout=LIMIT, send_timeout=LIMIT
    )


@contextmanager
def linked(context: DriverContext, *, settings: Any = None, **behaviour: Any) -> Iterator[Any]:
    with Smsc(**behaviour) as smsc:
        mine = Linked(context, smsc.url, **(settings or {}))
        with mine.up():
            yield smsc, mine


GREEK = "Γειά "


@pytest.mark.parametrize(
    ("text", "coding", "pieces"),
    [
        ("Hello [you] €", 0, ["Hello [you] €"]),
        ("x" * 160, 0, ["x" * 160]),
        ("x" * 161, 0, ["x" * 153, "x" * 8]),
        ("€" * 81, 0, ["€" * 76, "€" * 5]),
        (GREEK * 14, 8, [GREEK * 14]),
        ("😀" * 36, 8, ["😀" * 33, "😀" * 3]),
    ],
)
def test_a_text_goes_in_its_alphabet_and_in_segments(
    context: DriverContext, text: str, coding: int, pieces: list[str]
) -> None:
    with linked(context) as (smsc, mine):
        known_as = mine.send(text)
    submitted = smsc.of("submit")
    assert [each["text"] for each in submitted] == pieces
    assert {each["data_coding"] for each in submitted} == {coding}
    assert known_as == submitted[-1]["id"]
    last = [0] * (len(pieces) - 1) + [1]
    assert [each["receipt"] for each in submitted] == last
    if len(pieces) == 1:
        assert (submitted[0]["udh"], submitted[0]["esm_class"]) == (None, 0)
    else:
        marks = {each["udh"][0][:6] for each in submitted}
        assert len(marks) == 1, "phones join the segments with one mark"
        numbers = [each["udh"][0][6:] for each in submitted]
        assert numbers == [f"{len(pieces):02}{at + 1:02}" for at in range(len(pieces))]
        assert {each["esm_class"] for each in submitted} == {0x40}


@pytest.mark.parametrize(
    ("language", "text", "number", "times"),
    [
        ("tr", "Ğİşı ç€[]", 1, 12),
        ("es", "¿Cómo están ÁÍÓÚ áíóú? {€}", 2, 6),
        ("pt", "Amanhã não há ÃÕâê", 3, 9),
    ],
)
def test_a_language_that_the_carrier_passes_on_costs_less(
    context: DriverContext, language: str, text: str, number: int, times: int
) -> None:
    long = text * times
    with linked(context, settings={"language": language}) as (smsc, mine):
        mine.send(text)
        mine.send(long)
        mine.send("Plain")
        assert mine.driver.segments(long) == 2
    short, *pieces, plain = smsc.of("submit")
    assert (short["text"], short["udh"]) == (text, [f"2401{number:02}"])
    assert "".join(each["text"] for each in pieces) == long
    assert [each["udh"][0][6:] for each in pieces] == ["0201", "0202"]
    assert {each["udh"][1] for each in pieces} == {f"2401{number:02}"}
    assert {each["data_coding"] for each in (short, *pieces, plain)} == {0}
    assert plain["udh"] is None


def test_a_text_outside_its_language_goes_in_ucs2(context: DriverContext) -> None:
    with linked(context, settings={"language": "es"}) as (smsc, mine):
        mine.send("Ğ")
    assert [each["data_coding"] for each in smsc.of("submit")] == [8]


@pytest.mark.parametrize(
    ("sender", "settings", "source"),
    [
        ("CRIER", {}, ["CRIER", 5, 0]),
        ("+2348010000000", {}, ["2348010000000", 1, 1]),
        ("12345", {}, ["12345", 3, 0]),
        ("12345", {"source_ton": 0, "source_npi": 1}, ["12345", 0, 1]),
        ("", {}, ["", 0, 0]),
    ],
)
def test_a_sender_is_a_name_a_number_or_a_short_code(
    context: DriverContext, sender: str, settings: dict[str, Any], source: list[Any]
) -> None:
    with linked(context, settings={"sender": sender, **settings}) as (smsc, mine):
        mine.send()
    (submitted,) = smsc.of("submit")
    assert (submitted["from"], submitted["destination"]) == (source, [1, 1])


@pytest.mark.parametrize(
    ("status", "kind", "code", "wait"),
    [
        (0x58, BlockedError, "ESME_RTHROTTLED", 1.0),
        (0x14, BlockedError, "ESME_RMSGQFUL", 1.0),
        (0x0A, BlockedError, "ESME_RINVSRCADR", None),
        (0x0B, PermanentError, "ESME_RINVDSTADR", None),
        (0x01, RequestError, "ESME_RINVMSGLEN", None),
        (0x08, RetryableError, "ESME_RSYSERR", 0.0),
        (0x400, UnknownCodeError, "0x00000400", None),
    ],
)
def test_a_status_leads_to_one_of_the_errors(
    context: DriverContext, status: int, kind: type[SendError], code: str, wait: float | None
) -> None:
    with linked(context, refuse={ADA: status}) as (_, mine), pytest.raises(SendError) as caught:
        mine.send()
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert getattr(caught.value, "wait", None) == wait


def test_without_an_answer_only_the_last_segment_leaves_a_doubt(context: DriverContext) -> None:
    with linked(replace(context, send_timeout=1.0), silent=True) as (smsc, mine):
        with pytest.raises(UncertainError) as doubt:
            mine.send("one")
        with pytest.raises(RetryableError) as none:
            mine.send("x" * 161)
    assert len(smsc.of("submit")) == 2
    assert (doubt.value.code, none.value.code) == ("no_answer", "no_answer")


def test_nothing_is_sent_without_a_link_and_nothing_counts(context: DriverContext) -> None:
    mine = Linked(context, "smpp://127.0.0.1:1")
    with pytest.raises(NotAllowedError):
        mine.send()
    links = context.links
    links.keep(SESSION, mine.driver.link(mine.hear))
    with pytest.raises(NotAllowedError):
        mine.send()
    until(mine.words)
    links.close()
    (notice,) = mine.words()[:1]
    assert isinstance(notice, Notice)
    assert isinstance(notice.error, BlockedError)
    assert (notice.error.code, notice.error.wait) == ("unreachable", 0.5)


def test_receipts_come_as_text_and_as_fields(context: DriverContext) -> None:
    told = {"source_addr": ADA, "destination_addr": "1", "esm_class": 4}
    said = "id:{} sub:001 dlvrd:000 submit date:1 done date:1 stat:{} err:{} text:id:9 stat:X"
    with linked(context) as (smsc, mine):
        for known_as, word, code in (("1", "DELIVRD", "000"), ("2", "undeliv", "013")):
            smsc.say(order="deliver", short_message=said.format(known_as, word, code), **told)
        fields = {"receipted_message_id": "3", "message_state": 8, "short_message": "odd"}
        smsc.say(order="deliver", **told, **fields)
        smsc.say(order="deliver", short_message=said.format(4, "UNKNOWN", 0), **told)
        smsc.say(order="deliver", short_message="nothing", **told)
        until(lambda: len(smsc.of("confirmed")) == 5)
        until(lambda: len(mine.words()) == 4)
    first, *receipts = mine.words()
    assert first == Notice(None)
    assert [(each.provider_id, each.state) for each in receipts] == [
        ("1", ReceiptState.DELIVERED),
        ("2", ReceiptState.FAILED),
        ("3", ReceiptState.FAILED),
    ]
    assert {each.recipients for each in receipts} == {(ADA,)}
    assert (receipts[1].error.code, receipts[1].error.reason) == (
        "UNDELIV",
        "The carrier could not deliver the message. Error 013.",
    )
    assert sum(report.odd for report in mine.heard) == 1


@pytest.mark.parametrize(
    ("how", "known_as", "receipt"),
    [("same", "1", "1"), ("decimal", "1", "1"), ("decimal", "10", "16"), ("hex", "26", "1A")],
)
def test_ids_in_another_notation_are_the_same_ids(
    context: DriverContext, how: str, known_as: str, receipt: str
) -> None:
    with linked(context, settings={"receipt_ids": how}, first_id=known_as) as (smsc, mine):
        sent_as = mine.send()
        smsc.say(order="receipt", **{"from": ADA, "id": receipt})
        until(lambda: len(mine.words()) == 2)
    assert mine.words()[1].provider_id == sent_as


@pytest.mark.parametrize(
    ("coding", "octets", "esm_class", "text"),
    [
        (0, "53746f70001b65", 0, "Stop@€"),
        (1, "53746f70", 0, "Stop"),
        (3, "e9", 0, "é"),
        (8, "d83dde00", 0, "😀"),
        (0, "05000301020153746f70", 0x40, "Stop"),
        (0, "080003010201240101531b49", 0x40, "Sİ"),
        (0, "0324010953", 0x40, "S"),
        (4, "53746f70", 0, ""),
    ],
)
def test_what_people_write_is_read_by_its_coding(
    context: DriverContext, coding: int, octets: str, esm_class: int, text: str
) -> None:
    with linked(context) as (smsc, mine):
        written = {"data_coding": coding, "octets": octets, "esm_class": esm_class}
        smsc.say(order="deliver", source_addr=f"+{ADA}", destination_addr="1", **written)
        until(mine.inbound)
        (message,) = mine.inbound()
        assert (message.sender, message.text) == (ADA, text)
        assert message.kind == ("text" if text else "binary")
        until(lambda: smsc.of("confirmed"))


def test_what_is_not_stored_is_not_confirmed(context: DriverContext) -> None:
    told = {"source_addr": ADA, "destination_addr": "1", "short_message": "Stop"}
    with linked(context) as (smsc, mine):
        mine.fault = OSError("the database is gone")
        smsc.say(order="deliver", **told)
        until(lambda: smsc.of("confirmed"))
        mine.fault = None
        smsc.say(order="deliver", **told)
        until(lambda: len(smsc.of("confirmed")) == 2)
    assert [each["status"] for each in smsc.of("confirmed")] == [0x64, 0]
    assert len(mine.inbound()) == 1


def test_the_smsc_may_ask_unbind_and_break_off(context: DriverContext) -> None:
    with linked(context) as (smsc, mine):
        smsc.say(order="query")
        smsc.say(order="enquire")
        until(lambda: smsc.of("alive") and smsc.of("nack"))
        smsc.say(order="unbind")
        until(lambda: len(smsc.of("bound")) == 2)
        smsc.say(order="drop")
        until(lambda: len(smsc.of("bound")) == 3 and context.links.is_up(SESSION))
        mine.send()
    assert (len(smsc.of("submit")), len(smsc.of("unbound"))) == (1, 1)
    assert mine.words() == [Notice(None)]


def test_an_smsc_that_falls_silent_is_left(
    context: DriverContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.channels.drivers.smpp.link.ENQUIRE", 0.05)
    with linked(replace(context, send_timeout=1.0), deaf=True) as (smsc, _):
        until(lambda: len(smsc.of("bound")) > 1)


def test_who_does_not_speak_smpp_is_left(context: DriverContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        mine = Linked(context, f"smpp://127.0.0.1:{server.getsockname()[1]}")

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(100)

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(RetryableError) as caught:
            talk(mine.driver.check(), context)
        thread.join()
    assert caught.value.code == "unreachable"


def test_a_check_binds_once_and_leaves_a_good_bind_alone(context: DriverContext) -> None:
    with linked(context) as (smsc, mine):
        talk(mine.driver.check(), context)
        other = Linked(replace(context, links=type(context.links)()), smsc.url)
        talk(other.driver.check(), other.context)
        wrong = Linked(other.context, smsc.url, password="wrong")
        with pytest.raises(BlockedError) as caught:
            talk(wrong.driver.check(), wrong.context)
    assert caught.value.code == "ESME_RINVPASWD"
    assert len(smsc.of("bound")) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"private_addresses": False}, "address"), ({"proxy": "http://127.0.0.1:1"}, "proxy")],
)
def test_a_private_address_and_a_proxy_are_refused(
    context: DriverContext, changes: dict[str, Any], code: str
) -> None:
    mine = Linked(replace(context, **changes), "smpp://127.0.0.1:1")
    with pytest.raises(BlockedError) as caught:
        talk(mine.driver.check(), context)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "http://a.example"},
        {"system_id": "x" * 16},
        {"password": "ninechars"},
        {"source_ton": 7},
        {"receipt_ids": "octal"},
        {"webhook_token": "word"},
    ],
)
def test_settings_that_smpp_cannot_carry_are_refused(
    context: DriverContext, settings: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Linked(context, settings.pop("base_url", "smpp://a.example"), **settings)
    assert len(caught.value.messages_dict) == 1
