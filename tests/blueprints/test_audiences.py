"""Broadcasts to the recipients of an earlier one, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from service.database import now_ms
from service.models import DeliveryStatus, Reply
from tests.blueprints.test_broadcasts import deliver
from tests.conftest import Tenant, on_sqlite

ADA, BEN, CARL, EVE = "2348179803743", "2349048988056", "2348179803744", "12025550110"
GROUP = "120363025246125486@g.us"
SENT, FAILED = DeliveryStatus.SENT, DeliveryStatus.FAILED


def order(text: str, **more: Any) -> dict[str, Any]:
    return {"send_type": "individual", "message": {"text": text}, **more}


@pytest.fixture
def earlier(acme: Tenant) -> str:
    """Return a broadcast that Ada got, that failed for Ben, and that waits for Carl."""
    acme.make("/session", name="main", channel="sandbox")
    to = [
        {"to": ADA, "variables": {"name": "Ada"}},
        {"to": BEN, "variables": {"name": "Ben"}},
        CARL,
    ]
    made = acme.make("/broadcast", **order("Hi {{name|}}", to=[*to, CARL]))
    deliver(acme, made["_id"], SENT, FAILED)
    return str(made["_id"])


def reached(acme: Tenant, earlier: str, **audience: Any) -> Any:
    answer = acme.post(
        "/broadcast", json=order("Again", audience={"broadcast": earlier, **audience})
    )
    if answer.status_code != 201:
        return answer.json["errors"]
    return answer.json["data"]["to"]


def test_an_audience_is_chosen_by_what_became_of_its_deliveries(acme: Tenant, earlier: str) -> None:
    with acme.crier.database.writing() as db:
        [ada, *_] = acme.get(f"/broadcast/{earlier}/delivery").json["data"]
        told = {"client_id": acme.id, "session_id": acme.get("/session").json["data"][0]["_id"]}
        about = {"broadcast_id": earlier, "delivery_id": ada["_id"], "message_id": "m-1"}
        moments = dict.fromkeys(("written_at", "created_at", "settled_at"), now_ms())
        db.add(Reply(recipient=ADA, forms=ADA, kind="text", **told, **about, **moments))
    assert reached(acme, earlier) == [ADA, BEN, CARL]
    assert reached(acme, earlier, statuses=["sent", "queued"]) == [ADA, CARL]
    assert reached(acme, earlier, statuses=["failed"], codes=["code"]) == [BEN]
    assert reached(acme, earlier, codes=["other"]) == {
        "audience": ["Matches no recipient of that broadcast. Choose other statuses or codes."]
    }
    assert reached(acme, earlier, replied=True) == [ADA]
    assert reached(acme, earlier, replied=False) == [BEN, CARL]


def test_recipients_without_a_delivery_yet_are_among_the_queued(acme: Tenant, earlier: str) -> None:
    del earlier
    made = acme.make("/broadcast", **order("Hi", to=[ADA, BEN]))["_id"]
    assert reached(acme, made) == reached(acme, made, statuses=["queued"]) == [ADA, BEN]
    assert list(reached(acme, made, statuses=["sent"])) == ["audience"]


def test_entries_that_were_skipped_are_in_no_audience(acme: Tenant, earlier: str) -> None:
    del earlier
    made = acme.make("/broadcast", **order("Hi", to=[ADA, "x", BEN], on_invalid="skip"))["_id"]
    deliver(acme, made, SENT, FAILED)
    assert reached(acme, made) == [ADA, BEN]
    assert reached(acme, made, statuses=["failed"]) == [BEN]


def test_the_variables_come_along_where_placeholders_are_asked_for(
    acme: Tenant, earlier: str
) -> None:
    other = acme.make("/session", name="other", channel="sandbox")["_id"]
    audience = {"broadcast": earlier, "statuses": ["sent"]}
    asked = order("{{name}}, again", audience=audience, personalise=True, session_id=other)
    made = acme.make("/broadcast", **asked)
    assert made["to"] == [{"to": ADA, "variables": {"name": "Ada"}}]
    assert (made["audience"], made["session_id"]) == (audience, other)
    plain = acme.make("/broadcast", **order("{{name", audience=audience))
    assert (plain["to"], plain["personalise"]) == ([ADA], False)
    whole = acme.post("/broadcast?dry_run=1", json=asked).json["data"]
    assert whole["messages"][0]["parts"] == [{"type": "text", "text": "Ada, again"}]
    paused = acme.post(f"/broadcast/{made['_id']}/pause").json["data"]
    changed = acme.put(f"/broadcast/{made['_id']}", json=paused | {"message": {"text": "Bye"}})
    assert changed.status_code == 200, changed.text
    assert changed.json["data"]["audience"] == audience


def test_a_broadcast_to_groups_has_them_as_its_audience(acme: Tenant, earlier: str) -> None:
    del earlier
    made = acme.make("/broadcast", send_type="group", to=[GROUP], message={"text": "Hi"})["_id"]
    assert list(reached(acme, made)) == ["audience"]
    again = {"send_type": "group", "audience": {"broadcast": made}, "message": {"text": "Hi"}}
    assert acme.make("/broadcast", **again)["to"] == [GROUP]


@on_sqlite
def test_an_audience_is_of_a_broadcast_of_ones_own_and_stands_in_place_of_to(
    acme: Tenant, globex: Tenant, earlier: str
) -> None:
    globex.make("/session", name="main", channel="sandbox")
    assert list(reached(globex, earlier)) == ["audience.broadcast"]
    assert list(reached(acme, "0" * 24)) == ["audience.broadcast"]
    assert list(reached(acme, "x")) == ["audience.broadcast"]
    assert list(reached(acme, earlier, statuses=["gone"])) == ["audience.statuses.0"]
    both = acme.post("/broadcast", json=order("Hi", to=ADA, audience={"broadcast": earlier}))
    assert list(both.json["errors"]) == ["audience"]
    none = acme.post("/broadcast", json=order("Hi"))
    assert list(none.json["errors"]) == ["to"]


def test_an_audience_of_no_broadcast_is_told_from_a_missing_list(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    order: dict[str, Any] = {"send_type": "individual", "message": {"text": "Hello"}}
    for field, given in (("audience", {"audience": {}}), ("to", order)):
        answer = acme.post("/broadcast", json=order | given)
        assert answer.status_code == 422
        assert list(answer.json["errors"]) == [field]
    assert acme.post("/broadcast", json={**order, "audience": {}, "to": ADA}).status_code == 201
