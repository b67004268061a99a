"""From WhatsApp to SMS: who is not reached gets the message by the next way, once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from service import logs
from service.app import Application
from service.channels.drivers import sandbox
from service.config import Settings
from service.core import tokens, ways
from service.core.tokens import Scope
from service.database import Database
from service.models import Broadcast
from tests.acceptance.test_sms import ACCOUNT, KEY, PUBLIC, signed
from tests.acceptance.test_webhooks import UNDELIVERABLE, cloud, status
from tests.provider import Provider, Request, graph_error, instead
from tests.receiver import Got, Receiver
from tests.sending import QUICK, Sending
from tests.serving import Server, running
from tests.waiting import until
from tests.world import ADA, GRACE, JOAN, World, numbers

UNREACHED = instead(400, graph_error(131026, "Message undeliverable"))


@pytest.fixture
def gateway() -> Iterator[Receiver]:
    with Receiver() as running_one:
        running_one.answer = lambda _got: 201
        running_one.says = lambda got: b'{"sid": "SM%s"}' % _to(got).encode()
        yield running_one


@pytest.fixture
def world(settings: Settings, database: Database) -> World:
    logs.configure(settings)
    return World(settings, database)


@pytest.fixture
def sending(make_app: Callable[..., Application], provider: Provider) -> Sending:
    return Sending(make_app(**QUICK, public_url=PUBLIC), provider)


def _to(got: Got) -> str:
    return dict(parse_qsl(got.body.decode()))["To"].removeprefix("+")


def sms(sending: Sending, gateway: Receiver, **fields: Any) -> dict[str, Any]:
    settings = {
        "account_sid": ACCOUNT,
        "auth_token": KEY,
        "sender": "+12025550110",
        "base_url": gateway.url,
    }
    return sending.client.make(
        "/session", name="sms", channel="twilio", settings=settings, **fields
    )


def order(sending: Sending, first: dict[str, Any], then: dict[str, Any], to: Any) -> dict[str, Any]:
    made: dict[str, Any] = sending.client.make(
        "/broadcast",
        session_id=first["_id"],
        send_type="individual",
        to=to,
        message={"text": "The clinic opens at {{hour|nine}}."},
        personalise=True,
        fallback=[{"session_id": then["_id"], "after": "failed"}],
    )
    return made


def sms_said(sending: Sending, session: dict[str, Any], number: str, said: str) -> None:
    fields = {"MessageSid": f"SM{number}", "MessageStatus": said, "To": f"+{number}"}
    path = f"/webhook/{session['_id']}"
    headers = signed(f"{PUBLIC}{path}", fields)
    answer = sending.app.test_client().post(path, data=urlencode(fields), headers=headers)
    assert answer.status_code == 200, answer.text


def test_who_is_not_on_whatsapp_gets_an_sms(sending: Sending, gateway: Receiver) -> None:
    def choose(request: Request) -> Any:
        is_ada = request.method == "POST" and request.json.get("to") == ADA
        return UNREACHED if is_ada else None

    sending.provider.choose = choose
    whatsapp, gate = sending.session(), sms(sending, gateway)
    people = [{"to": ADA, "variables": {"hour": "ten"}}, GRACE, JOAN]
    with sending.running():
        made = order(sending, whatsapp, gate, people)
        path = f"/broadcast/{made['_id']}"
        until(lambda: [_to(got) for got in gateway.got] == [ADA])
        taken = {each.recipient: each for each in sending.provider.taken}
        late = {**status(taken[GRACE], "failed"), "errors": [UNDELIVERABLE]}
        sending.report(whatsapp, cloud([late, status(taken[JOAN], "delivered")]))
        until(lambda: {_to(got) for got in gateway.got} == {ADA, GRACE})
        for number in (ADA, GRACE):
            sms_said(sending, gate, number, "delivered")
        sending.await_state(path, lambda shown: shown["counts"]["delivered"] == 3)
        shown = sending.await_completed(made["_id"])
    bodies = {_to(got): dict(parse_qsl(got.body.decode()))["Body"] for got in gateway.got}
    assert bodies == {ADA: "The clinic opens at ten.", GRACE: "The clinic opens at nine."}
    assert Counter(map(_to, gateway.got)) == {ADA: 1, GRACE: 1}
    (way,) = shown["ways"]
    assert (way["session_id"], way["counts"]["total"], way["counts"]["delivered"]) == (
        gate["_id"],
        2,
        2,
    )
    lines = sending.client.get(f"{path}/delivery.ndjson").text.splitlines()
    exported = {each["recipient"]: each for each in map(json.loads, lines)}
    by = {number: (each["step"], each["session_id"]) for number, each in exported.items()}
    assert by == {ADA: (1, gate["_id"]), GRACE: (1, gate["_id"]), JOAN: (0, whatsapp["_id"])}
    for delivery in sending.deliveries(made["_id"]):
        told = sending.get(f"/delivery/{delivery['_id']}")
        said = [(each["session_id"], each["status"], each["code"]) for each in told["ways"]]
        if delivery["recipient"] == JOAN:
            assert said == [(whatsapp["_id"], "delivered", None)]
        else:
            assert said == [
                (whatsapp["_id"], "failed", "131026"),
                (gate["_id"], "delivered", None),
            ]
            happened = [each["what"] for each in told["history"]]
            assert happened[-3:] == ["passed_on", "sent", "delivered"]


def test_a_late_receipt_stops_the_sms_that_has_not_gone_out(
    sending: Sending, gateway: Receiver
) -> None:
    opens = datetime.now(UTC) + timedelta(hours=2)
    window = {"from": f"{opens:%H}:00", "to": f"{opens + timedelta(hours=1):%H}:00", "zone": "UTC"}
    whatsapp, gate = sending.session(), sms(sending, gateway, window=window)
    with sending.running():
        made = order(sending, whatsapp, gate, [ADA])
        until(lambda: sending.provider.taken)
        (taken,) = sending.provider.taken
        late = {**status(taken, "failed"), "errors": [UNDELIVERABLE]}
        sending.report(whatsapp, cloud([late]))
        path = f"/delivery/{sending.deliveries(made['_id'])[0]['_id']}"
        sending.await_state(path, lambda shown: len(shown["ways"]) == 2)
        assert sending.get(f"/broadcast/{made['_id']}")["pending"] == [ADA]
        sending.report(whatsapp, cloud([status(taken, "delivered")]))
        sending.await_completed(made["_id"])
        said = [(each["status"], each["code"]) for each in sending.get(path)["ways"]]
    assert said == [("delivered", None), ("cancelled", "reached_otherwise")]
    assert gateway.got == []


def test_a_step_that_cannot_carry_the_message_is_refused_by_its_number(
    sending: Sending, gateway: Receiver
) -> None:
    whatsapp, gate = sending.session(), sms(sending, gateway)
    asked = {
        "session_id": whatsapp["_id"],
        "send_type": "individual",
        "to": ADA,
        "message": {"text": "Look", "attachments": [sending.picture()]},
        "fallback": [{"session_id": gate["_id"], "after": "failed"}],
    }
    answer = sending.client.post("/broadcast", json=asked)
    assert answer.status_code == 422
    (reason,) = answer.json["errors"]["fallback.0.session_id"]
    assert "message.attachments.0" in reason
    asked["fallback"][0]["message"] = {"text": "Look at https://example.com"}
    assert sending.client.post("/broadcast", json=asked).status_code == 201


def test_everybody_gets_it_once_though_the_worker_is_killed_between_two_ways(world: World) -> None:
    count, kills = 600, 2
    first = world.session(settings={"unreachable": True})
    then = world.session(settings={"idempotent": False})
    with world.database.writing() as db:
        token = tokens.create(db, world.client_id, "test", [Scope.SEND])[1]

    def arrived() -> Counter[str]:
        kept = sandbox.received(world.settings.sandbox_store, [first, then], 0, 1_000_000)[1]
        return Counter(message["recipient"] for message in kept)

    def await_arrivals(enough: int) -> None:
        until(lambda: arrived().total() >= enough)

    # Of what is under way when it is killed, nobody knows whether it was sent.
    server = Server(world.settings, "--preload", IN_FLIGHT="16", FLUSH_BATCH="20")
    with running(server):
        body = {
            "session_id": first,
            "send_type": "individual",
            "to": numbers(count),
            "message": {"text": "Hello"},
            "fallback": [{"session_id": then, "after": "failed"}],
        }
        code, answer = server.ask("POST", "/broadcast", token, body)
        assert code == 201, answer
        broadcast_id = str(answer["data"]["_id"])
        for part in range(1, kills + 1):
            await_arrivals(part * count // 4)
            server.kill_dispatcher()
        world.await_status(broadcast_id, "completed")
    statuses = world.statuses(broadcast_id)
    assert set(statuses) <= {"sent", "uncertain"}
    assert statuses["sent"] + statuses.get("uncertain", 0) == count
    got = arrived()
    assert max(got.values()) == 1
    sure = {row.recipient for row in world.deliveries(broadcast_id) if row.status == "sent"}
    assert sure <= got.keys()
    with world.database.reading() as db:
        mine = ways.of(db, db.get_one(Broadcast, broadcast_id))
    world.assert_counters_equal_rows([broadcast_id, *(way.id for way in mine)])
