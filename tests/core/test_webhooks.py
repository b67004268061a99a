"""What providers tell us by themselves, believed only with the session's own signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from service.channels.webhooks import (
    Inbound,
    Move,
    Person,
    Preference,
    Receipt,
    ReceiptState,
    Report,
    WebhookCall,
)
from service.core import inbox, inbox_sessions, webhooks
from service.errors import ForgedWebhookError, NotFoundError, TooLargeError, UnreadableBodyError
from tests.conftest import Tenant, on_sqlite
from tests.statements import noted
from tests.world import World

CLOUD = {
    "phone_number_id": "106540352242922",
    "access_token": "EAAG-token",
    "app_secret": "app-secret",
    "verify_token": "verify-token",
}
WAMID = "wamid.HBgLMTY1MDM4Nzk0MzkVAgARGBJBM0I2RkZCREJBRDI2MUFDNkUA"
QUESTION = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}


def body(**status: Any) -> bytes:
    metadata = {"display_phone_number": "15550783881", "phone_number_id": CLOUD["phone_number_id"]}
    said = {"id": WAMID, "status": "sent", "timestamp": "1750030073", "recipient_id": "1", **status}
    value = {"messaging_product": "whatsapp", "metadata": metadata, "statuses": [said]}
    change = {"value": value, "field": "messages"}
    return json.dumps({"object": "x", "entry": [{"id": "1", "changes": [change]}]}).encode()


def read(world: World, session_id: str, raw: bytes, **headers: str) -> Report:
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    call = WebhookCall(raw, named, {}, "")
    with world.database.reading() as db:
        return webhooks.read(db, session_id, call, accounts=world.accounts)[1]


def signature(raw: bytes, secret: str = CLOUD["app_secret"]) -> str:
    return f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"


def challenge(world: World, session_id: str, **query: str) -> str:
    asked = {**QUESTION, **query}
    with world.database.reading() as db:
        return webhooks.answer_challenge(db, session_id, asked, accounts=world.accounts)


@pytest.fixture
def cloud(world: World) -> str:
    return world.session("whatsapp_cloud", settings=CLOUD)


def test_a_signed_body_is_read(world: World, cloud: str) -> None:
    raw = body()
    report = read(world, cloud, raw, X_Hub_Signature_256=signature(raw))
    assert report.words == [Receipt(WAMID, ReceiptState.SENT, recipients=("1",))]


def test_the_header_may_be_written_in_any_case(world: World, cloud: str) -> None:
    raw = body()
    assert read(world, cloud, raw, x_hub_SIGNATURE_256=signature(raw)).words


@on_sqlite
@pytest.mark.parametrize("place", [0, 17, -1])
def test_one_byte_that_is_another_breaks_it(world: World, cloud: str, place: int) -> None:
    raw = bytearray(body())
    signed = signature(bytes(raw))
    raw[place] ^= 1
    with pytest.raises(ForgedWebhookError):
        read(world, cloud, bytes(raw), X_Hub_Signature_256=signed)


@on_sqlite
@pytest.mark.parametrize("said", ["", "sha256=", "é", "0" * 64])
def test_no_other_signature_will_do(world: World, cloud: str, said: str) -> None:
    with pytest.raises(ForgedWebhookError):
        read(world, cloud, body(), X_Hub_Signature_256=said)
    with pytest.raises(ForgedWebhookError):
        read(world, cloud, body())


def test_a_session_without_a_secret_believes_nobody(world: World) -> None:
    bare = {name: CLOUD[name] for name in ("phone_number_id", "access_token")}
    session_id = world.session("whatsapp_cloud", settings=bare)
    raw = body()
    with pytest.raises(ForgedWebhookError):
        read(world, session_id, raw, X_Hub_Signature_256=signature(raw, ""))
    with pytest.raises(ForgedWebhookError):
        challenge(world, session_id, **{"hub.verify_token": ""})


def test_another_sessions_secret_is_not_this_ones(world: World, cloud: str) -> None:
    other = world.session("whatsapp_cloud", settings={**CLOUD, "app_secret": "another"})
    raw = body()
    with pytest.raises(ForgedWebhookError):
        read(world, other, raw, X_Hub_Signature_256=signature(raw))
    assert read(world, cloud, raw, X_Hub_Signature_256=signature(raw)).words


@on_sqlite
@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"[" * 100_000],
)
def test_what_is_signed_and_cannot_be_read_is_refused(world: World, cloud: str, raw: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        read(world, cloud, raw, X_Hub_Signature_256=signature(raw))


def test_a_body_reports_on_a_limited_number_of_messages(world: World, cloud: str) -> None:
    statuses = [{"id": f"wamid.{number}", "status": "read"} for number in range(5_001)]
    raw = json.dumps(json.loads(body(), object_hook=lambda each: _with(each, statuses))).encode()
    with pytest.raises(TooLargeError):
        read(world, cloud, raw, X_Hub_Signature_256=signature(raw))


def test_a_body_beyond_its_size_is_refused_whoever_signed_it(world: World, cloud: str) -> None:
    raw = body().ljust(webhooks.MOST_BYTES)
    assert read(world, cloud, raw, X_Hub_Signature_256=signature(raw)).words
    for signed in (signature(raw + b" "), "sha256=wrong"):
        with pytest.raises(TooLargeError):
            read(world, cloud, raw + b" ", X_Hub_Signature_256=signed)


def _with(value: dict[str, Any], statuses: list[dict[str, str]]) -> dict[str, Any]:
    return {**value, "statuses": statuses} if "statuses" in value else value


def test_the_challenge_comes_back_to_whoever_knows_the_token(world: World, cloud: str) -> None:
    assert challenge(world, cloud, **{"hub.verify_token": "verify-token"}) == "1158201444"
    for wrong in ("", "verify-toke", "VERIFY-TOKEN", "é"):
        with pytest.raises(ForgedWebhookError):
            challenge(world, cloud, **{"hub.verify_token": wrong})


def test_sessions_that_are_not_reported_to_have_no_webhook(world: World) -> None:
    sandbox = world.session()
    waha = world.session("waha", settings={"base_url": "http://waha.example:3000"})
    for session_id in (sandbox, "0" * 24, "nonsense"):
        with pytest.raises(NotFoundError):
            read(world, session_id, b"{}")
        with pytest.raises(NotFoundError):
            challenge(world, session_id)
    assert not challenge(world, waha)  # WAHA asks no question


@pytest.mark.parametrize(
    ("said", "only_adds"),
    [
        ({"words": [Receipt(WAMID, ReceiptState.SENT)]}, True),
        ({"inbound": [Inbound("in-1", "1", "text", "Yes, please")]}, True),
        ({"inbound": [Inbound("in-1", "1", "image", "Stop")]}, True),
        (
            {
                "inbound": [
                    Inbound("in-1", "1", "text", "Hi"),
                    Inbound("2", "2", "text", "S t o p!"),
                ]
            },
            False,
        ),
        ({"inbound": [Inbound("in-1", "1", "button", "START")]}, False),
        ({"preferences": [Preference(("1",), stops=True)]}, False),
        ({"people": [Person("1", "US.1")]}, False),
        ({"moves": [Move(("1",), ("2",))]}, False),
        ({"health": {"event": "ONBOARDING"}}, False),
    ],
)
def test_what_has_to_hold_when_it_is_answered_is_stored_together(
    world: World, cloud: str, said: dict[str, Any], *, only_adds: bool
) -> None:
    with world.database.reading() as db:
        session = inbox_sessions.get(db, cloud)
    assert inbox.only_adds(session, Report(**said)) == only_adds


class Vendor:
    """Reports on a session by webhook, signed with a secret."""

    def __init__(self, client: Tenant) -> None:
        self._client = client
        made = client.make("/session", name="main", channel="whatsapp_cloud", settings=CLOUD)
        self.session = f"/session/{made['_id']}"
        self._path = f"/webhook/{made['_id']}"

    def report(self, *secret: str) -> TestResponse:
        raw = body()
        headers = {"X-Hub-Signature-256": signature(raw, *secret)}
        return self._client.post(self._path, data=raw, headers=headers)


def test_a_webhook_takes_a_look_and_a_statement_for_each_kind_of_row(acme: Tenant) -> None:
    vendor = Vendor(acme)
    vendor.report()  # counts what waits
    with noted(acme.crier.database) as statements:
        assert vendor.report().json["data"] == {"receipts": 1}  # type: ignore[index]
    said = [
        each.sql.split()[0] for each in statements if not each.sql.startswith(("BEGIN", "PRAGMA"))
    ]
    assert said == ["SELECT", "INSERT"]


def test_a_secret_that_was_replaced_or_deleted_with_its_session_signs_nothing_more(
    acme: Tenant,
) -> None:
    vendor = Vendor(acme)
    assert vendor.report().status_code == 200
    changed = {"settings": {**CLOUD, "app_secret": "another"}}
    assert acme.ask("PUT", vendor.session, json=changed).status_code == 200
    assert vendor.report().status_code == 403
    assert vendor.report("another").status_code == 200
    assert acme.ask("DELETE", vendor.session).status_code == 200
    assert vendor.report("another").status_code == 404
