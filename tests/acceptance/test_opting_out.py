"""Somebody writes STOP while their messages are on the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from service.app import Application
from service.channels.registry import DRIVERS
from tests.conftest import Tenant
from tests.probe import Probe, Stage
from tests.sending import PHONE_NUMBER_ID, QUICK, Sending, dispatching
from tests.waiting import until
from tests.world import ADA, numbers


def written(text: str, message_id: str, sender: str = ADA, **more: Any) -> bytes:
    """Return Meta's webhook of a text that somebody wrote."""
    message = {
        "from": sender,
        "id": message_id,
        "timestamp": "1750030073",
        "type": "text",
        "text": {"body": text},
        **more,
    }
    metadata = {"display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID}
    contacts = [{"profile": {"name": "Ada"}, "wa_id": sender}]
    value = {"metadata": metadata, "contacts": contacts, "messages": [message]}
    change = {"field": "messages", "value": {"messaging_product": "whatsapp", **value}}
    entry = {"id": "102290129340398", "changes": [change]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def listed(tenant: Tenant, path: str) -> Any:
    """Fetch a list."""
    answer = tenant.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def test_nothing_goes_out_after_the_webhook_with_stop_was_answered(sending: Sending) -> None:
    """Two thousand deliveries are queued in five broadcasts, each with one to Ada."""
    session = sending.session(rate=100)
    people = [*numbers(200), ADA, *(str(12025553000 + each) for each in range(199))]
    with sending.running():
        made = [sending.broadcast(people, session, text=f"No. {each}") for each in range(5)]
        until(lambda: len(sending.provider.taken) > 50)
        assert sending.report(session, written("Stop!", "wamid.stop")).status_code == 200
        answered_at = time.monotonic()
        again = sending.broadcast([ADA], session)
        path = f"/delivery?recipient={ADA}"
        until(lambda: len(listed(sending.client, path)) == 6)
        of_ada = listed(sending.client, path)
        until(lambda: len(sending.provider.taken) > 150)
        for broadcast_id in made:
            sending.client.delete(f"/broadcast/{broadcast_id}")
        sending.await_completed(again)
    late = [
        each
        for each in sending.provider.messages
        if each.at > answered_at and ADA.encode() in each.body
    ]
    assert late == []
    ends = {each["broadcast_id"]: each for each in of_ada}
    assert all(ends[each]["status"] == "sent" or ends[each]["code"] for each in made)
    assert "opted_out" in {ends[each]["code"] for each in made}
    assert sending.deliveries(again)[0]["code"] == "opted_out"
    (shown,) = listed(sending.client, f"/session/{session['_id']}/opt-out")
    assert (shown["recipient"], shown["source"]) == (ADA, "keyword")


def test_a_reply_is_kept_confirmed_and_counted_and_start_takes_stop_back(sending: Sending) -> None:
    session = sending.session()
    sending.client.put("/opt-out/policy", json={"confirmation": "Bye.", "welcome": "Hi again."})
    with sending.running():
        broadcast_id = sending.broadcast([ADA], session)
        sending.await_completed(broadcast_id)
        button: dict[str, Any] = {
            "type": "button",
            "button": {"text": "Stop promotions", "payload": "stop-1"},
        }
        sending.report(session, written("", "wamid.1", **button))
        sending.report(session, written("stop", "wamid.2"))
        sending.report(session, written("START", "wamid.3"))
        sending.await_state(f"/broadcast/{broadcast_id}", lambda shown: shown["replies"] == 3)
        until(lambda: len(sending.provider.taken) == 3)
    said = [each.body["text"]["body"] for each in sending.provider.taken]
    assert said == ["Hello", "Bye.", "Hi again."]
    replies = listed(sending.client, f"/reply?broadcast_id={broadcast_id}")
    assert [(each["text"], each["kind"], each["opt_out"]) for each in replies] == [
        ("START", "text", "start"),
        ("stop", "text", "stop"),
        ("Stop promotions", "button", "stop"),
    ]
    assert (replies[2]["payload"], replies[2]["name"]) == ("stop-1", "Ada")
    assert replies[0]["writtenAt"] == "2025-06-15T23:27:53.000Z"
    assert sending.get(f"/reply/{replies[0]['_id']}") == replies[0]
    assert len(sending.get(f"/broadcast/{broadcast_id}/reply")) == 3
    assert listed(sending.client, f"/session/{session['_id']}/opt-out") == []


def test_the_sandboxs_phone_can_say_stop(make_app: Callable[..., Application]) -> None:
    app = make_app(**QUICK)
    acme = Tenant(app, "Acme")
    session = acme.make("/session", name="trial", channel="sandbox", settings={"latency": 0.05})
    with dispatching(app):
        order = {"send_type": "individual", "to": [ADA], "message": {"text": "Hi"}}
        first = acme.make("/broadcast", **order)["_id"]
        until(lambda: len(listed(acme, "/sandbox/message")) == 1)
        shown = acme.make("/sandbox/reply", recipient=f"+{ADA}", text="Stop.", name="Ada")
        assert (shown["recipient"], shown["session_id"]) == (ADA, session["_id"])
        second = acme.make("/broadcast", **order)["_id"]
        path = f"/broadcast/{second}/delivery"
        until(lambda: [each["code"] for each in listed(acme, path)] == ["opted_out"])
        until(lambda: acme.get(f"/broadcast/{first}").json["data"]["replies"] == 1)
    assert len(listed(acme, "/sandbox/message")) == 1
    other = acme.make("/session", name="w", channel="waha", settings={"base_url": "http://w"})
    wrong = acme.post(
        "/sandbox/reply", json={"recipient": ADA, "text": "x", "session_id": other["_id"]}
    )
    assert (wrong.status_code, list(wrong.json["errors"])) == (422, ["session_id"])


def test_what_another_process_has_claimed_is_stopped(
    make_app: Callable[..., Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DRIVERS, "probe", "tests.probe:Probe")
    monkeypatch.setattr(Probe, "stage", stage := Stage(), raising=False)
    app, other = make_app(**QUICK), make_app(**QUICK)
    acme, may_end = Tenant(app, "Acme"), threading.Event()
    stage.send = lambda call: may_end.wait(60.0) and call.reference
    session = acme.make("/session", name="slow", channel="probe", concurrency=1)
    order = {"send_type": "individual", "to": [*numbers(1), ADA], "message": {"text": "Hi"}}
    with dispatching(other):
        broadcast_id = acme.make("/broadcast", **order)["_id"]
        path = f"/broadcast/{broadcast_id}/delivery"
        until(lambda: {each["status"] for each in listed(acme, path)} == {"sending"})
        acme.make(f"/session/{session['_id']}/opt-out", recipient=ADA)
        assert [each["code"] for each in listed(acme, path)] == [None, "opted_out"]
        may_end.set()
    assert stage.recipients() == numbers(1)
