"""Dry runs over HTTP: what a broadcast would do, with nothing stored."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

from service.app import Application
from service.channels.content import Text
from service.channels.registry import DRIVERS
from tests.conftest import Tenant, on_sqlite
from tests.probe import Probe, Stage

ADA, BEN, CARL, EVE = "2348179803743", "2349048988056", "447400123456", "12025550110"


def order(text: str, *to: Any, **more: Any) -> dict[str, Any]:
    return {"send_type": "individual", "to": list(to), "message": {"text": text}, **more}


def named(recipient: str, name: str) -> dict[str, Any]:
    return {"to": recipient, "variables": {"name": name}}


def preview(tenant: Tenant, asked: dict[str, Any]) -> dict[str, Any]:
    answer = tenant.post("/broadcast?dry_run=true", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json["message"] == "Broadcast previewed successfully!"
    return answer.json["data"]  # type: ignore[no-any-return]


def test_a_dry_run_says_all_that_a_broadcast_would_do_and_stores_nothing(acme: Tenant) -> None:
    prices = {"currency": "EUR", "countries": {"NG": 0.0516, "*": "0.1"}}
    session = acme.make("/session", name="main", channel="sandbox", rate=2, prices=prices)
    assert session["prices"] == {"currency": "EUR", "countries": {"NG": 0.0516, "*": 0.1}}
    acme.make(f"/session/{session['_id']}/opt-out", recipient=EVE)
    people = [named(ADA, "Ada"), "0817", named(f"+{BEN}", "Ben"), EVE, named(ADA, "Ada"), CARL]
    asked = order("Hi {{name|you}}", *people, send_at="2998-01-01T00:00:00Z")
    seen = preview(acme, asked)

    text = [{"type": "text", "text": "Hi Ada"}]
    assert seen["messages"][0] == {"recipient": ADA, "variables": {"name": "Ada"}, "parts": text}
    assert [each["recipient"] for each in seen["messages"]] == [ADA, BEN, CARL]
    assert seen["messages"][2]["parts"][0]["text"] == "Hi you"
    counts = {"entries": 6, "recipients": 3, "duplicates": 1, "parts": 1, "segments": None}
    assert {name: seen[name] for name in counts} == counts
    assert [each["position"] for each in seen["invalid"]] == [1]
    assert seen["invalid"][0]["reason"].startswith("'0817' ")
    assert (seen["opted_out"], seen["countries"]) == ([EVE], {"NG": 2, "GB": 1})
    assert seen["cost"] == {"amount": "0.2032", "currency": "EUR", "unpriced": 0}
    assert seen["begins_at"] == seen["send_at"] == "2998-01-01T00:00:00.000Z"
    assert seen["estimate"]["ends_at"] == "2998-01-01T00:00:01.500Z"
    assert acme.get("/broadcast").json["data"] == []


def test_a_dry_run_leaves_out_whom_the_real_one_would_refuse_for_any_reason(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    long = named(CARL, "x" * 4_095)
    seen = preview(acme, order("{{name}}, hi", named(ADA, "Ada"), BEN, long, "x", named(ADA, "A")))
    assert [each["position"] for each in seen["invalid"]] == [1, 2, 3, 4]
    assert seen["recipients"] == 1
    assert seen["estimate"]["ends_at"] is None
    assert seen["estimate"]["reason"].startswith("It has not begun, and its session has no `rate`")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (order("{{name}}", ADA, personalise=True), "message.text"),
        (order("Hi", "x"), "to.0"),
        (order("Hi", *["x"] * 1_001), "to"),
        (order("Hi", ADA, session_id="0" * 24), "session_id"),
        (order("", ADA), "message"),
    ],
)
@on_sqlite
def test_a_dry_run_tells_the_errors_of_the_real_one(
    acme: Tenant, asked: dict[str, Any], field: str
) -> None:
    acme.make("/session", name="main", channel="sandbox")
    dry, real = (acme.post(f"/broadcast{query}", json=asked) for query in ("?dry_run=1", ""))
    assert dry.json == real.json
    assert dry.status_code in {404, 422}
    assert field in dry.json["errors"]


def test_the_parts_of_a_message_are_shown_as_the_channel_gets_them(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    contact = acme.make("/contact", name="Agent {{name}}", phones=[EVE])
    message = {
        "location": {"lat": 6.5, "lng": "3.2", "name": "{{city}}"},
        "contactId": contact["_id"],
        "template": {"name": "sale", "language": "en", "components": [{"x": "{{name}}"}]},
    }
    asked = order("Hi", {"to": ADA, "variables": {"name": "Ada", "city": "Lagos"}})
    text, place, card, template = preview(acme, asked | {"message": asked["message"] | message})[
        "messages"
    ][0]["parts"]
    assert text == {"type": "text", "text": "Hi"}
    assert place == {"type": "location", "lat": "6.5", "lng": "3.2", "name": "Lagos"}
    assert (card["type"], card["name"]) == ("contact", "Agent Ada")
    assert "FN:Agent Ada\r\n" in card["vcard"]
    assert template == {
        "type": "template",
        "name": "sale",
        "language": "en",
        "components": [{"x": "Ada"}],
    }


def test_segments_are_counted_and_paid_where_a_channel_counts_them(
    acme: Tenant, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    del app
    monkeypatch.setitem(DRIVERS, "probe", "tests.probe:Probe")
    monkeypatch.setattr(Probe, "stage", Stage(), raising=False)
    Probe.stage.plan = lambda content: (Text(content.text),)
    Probe.stage.segments = lambda text: -(-len(text) // 10)
    prices = {"currency": "USD", "countries": {"NG": 1}}
    acme.make("/session", name="main", channel="probe", prices=prices)
    asked = order("Hi {{name}}", named(ADA, "Ada"), named(BEN, "Benedictus"), named(CARL, "C"))
    seen = preview(acme, asked)
    assert seen["segments"] == {"total": 4, "most": 2}
    assert seen["cost"] == {"amount": "3", "currency": "USD", "unpriced": 1}


@pytest.mark.parametrize(
    ("prices", "field"),
    [
        ({"currency": "usd", "countries": {}}, "prices.currency"),
        ({"currency": "USD", "countries": {"Nigeria": 1}}, "prices.countries.Nigeria.key"),
        ({"currency": "USD", "countries": {"NG": -1}}, "prices.countries.NG.value"),
        ({"currency": "USD"}, "prices.countries"),
    ],
)
@on_sqlite
def test_prices_are_checked(acme: Tenant, prices: dict[str, Any], field: str) -> None:
    answer = acme.post("/session", json={"name": "x", "channel": "sandbox", "prices": prices})
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]


def test_a_file_of_people_is_previewed_and_its_invalid_rows_are_told(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    people = f"number,name\n{ADA},Ada\n{BEN},\n0817,Eve\n{CARL},Carl\n"
    asked = {"send_type": "individual", "message": {"text": "Hi {{name}}"}, "on_invalid": "skip"}
    form = {"broadcast": json.dumps(asked), "recipients": (BytesIO(people.encode()), "people.csv")}
    answer = acme.post("/broadcast?dry_run=true", data=form, content_type="multipart/form-data")
    assert answer.status_code == 200, answer.text
    seen = answer.json["data"]
    assert (seen["recipients"], seen["countries"]) == (2, {"NG": 1, "GB": 1})
    assert [each["recipient"] for each in seen["messages"]] == [ADA, CARL]
    missing, bad = sorted(each["reason"] for each in seen["invalid"])
    assert "has no value for 'name'" in missing
    assert "'0817' " in bad
    assert acme.get("/broadcast").json["data"] == []
