"""A channel that is an extra: with its package, and without."""

from __future__ import annotations

import pytest

from service.channels import registry
from tests.provider import instead
from tests.sending import Sending
from tests.world import numbers

pytestmark = [
    pytest.mark.usefixtures("short_waits"),
    # Apprise loads all its services at once, and a library of one of them uses imghdr.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

SMS = "atalk://crier@a1b2c3d4e5f6a7b8c9/{to}"


def hook(sending: Sending) -> str:
    """Create a session of a service that posts JSON to the loopback, and return its id."""
    pytest.importorskip("apprise", reason="the optional package apprise is not installed")
    sending.provider.choose = lambda _request: instead(200)
    url = sending.provider.url.replace("http:", "json:") + "/hook/{to}"
    fields = {"name": "hook", "channel": "apprise", "settings": {"url": url}}
    made = sending.client.make("/session", **fields)
    assert (made["problem"], made["settings"], made["secrets"]) == (None, {}, ["url"])
    return str(made["_id"])


def test_whatever_apprise_reaches_is_a_channel(sending: Sending) -> None:
    session_id, people = hook(sending), numbers(30)
    location = {"lat": "6.5", "lng": "3.2", "name": "Lagos"}
    with sending.running():
        broadcast_id = sending.broadcast(
            people, {"_id": session_id}, text="Hello", location=location
        )
        shown = sending.await_completed(broadcast_id)
    assert shown["counts"]["sent"] == 30
    asked = sending.provider.requests
    assert sorted(request.path for request in asked) == [f"/hook/{each}" for each in people]
    (said,) = {request.json["message"] for request in asked}
    assert said == "Hello\nLagos: https://maps.google.com/?q=6.5,3.2"
    assert sending.deliveries(broadcast_id)[0]["message_ids"] == ["-"]


def test_what_a_service_cannot_carry_is_said_when_the_broadcast_is_made(sending: Sending) -> None:
    pytest.importorskip("apprise", reason="the optional package apprise is not installed")
    fields = {"name": "sms", "channel": "apprise", "settings": {"url": SMS}}
    session = sending.client.make("/session", **fields)
    order = {"send_type": "individual", "to": numbers(1), "session_id": session["_id"]}
    for message, field in (
        ({"text": "Look", "attachments": [sending.picture()]}, "message.attachments"),
        ({"template": {"name": "order_ready", "language": "en"}}, "message.template"),
    ):
        answer = sending.client.post("/broadcast", json={**order, "message": message})
        assert answer.status_code == 422
        assert list(answer.json["errors"]) == [field]
    group = {**order, "send_type": "group", "to": ["120363041234567890@g.us"]}
    answer = sending.client.post("/broadcast", json={**group, "message": {"text": "Hi"}})
    assert list(answer.json["errors"]) == ["to.0"]


def test_without_its_package_a_channel_says_so_and_nothing_is_burnt(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, people = hook(sending), numbers(3)
    waiting = sending.broadcast(people, {"_id": session_id})
    with monkeypatch.context() as missing:
        missing.setitem(registry.EXTRAS, "apprise", "no_package_of_this_name")
        fields = {"name": "another", "channel": "apprise", "settings": {"url": SMS}}
        refused = sending.client.post("/session", json=fields)
        assert (refused.status_code, list(refused.json["errors"])) == (422, ["channel"])
        unknown = sending.client.post("/session", json={"name": "x", "channel": "pigeon"})
        assert "apprise" not in unknown.json["errors"]["channel"][0]
        order = {"send_type": "individual", "to": people, "message": {"text": "Hi"}}
        answer = sending.client.post("/broadcast", json={**order, "session_id": session_id})
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["session_id"])
        checked = sending.client.post(f"/session/{session_id}/check").json["data"]
        assert "no_package_of_this_name" in checked["problem"]
        assert sending.get(f"/session/{session_id}")["status"] == "blocked"
        webhook = sending.app.test_client().post(f"/webhook/{session_id}", data=b"{}")
        assert webhook.status_code == 404
        with sending.running():
            sending.client.put(f"/session/{session_id}", json={})
            sending.await_state(
                f"/broadcast/{waiting}", lambda b: "no_package" in (b["reason"] or "")
            )
            assert sending.get(f"/broadcast/{waiting}")["counts"]["pending"] == 3
            missing.undo()
            assert sending.await_completed(waiting)["counts"]["sent"] == 3
