"""Broadcasts that are replaced before anybody got them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from service.core.deliveries import chunks
from service.database import now_ms
from service.models import Broadcast, Delivery
from tests.blueprints.test_guide import upload
from tests.blueprints.test_session_tokens import ask, own
from tests.conftest import Tenant

ADA, GRACE, JOAN = "2348179803743", "2349048988056", "447911123456"
LATER = "2030-01-01T09:00:00.000Z"


@pytest.fixture
def acme(acme: Tenant) -> Tenant:
    acme.make("/session", name="main", channel="sandbox")
    return acme


def send(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    usual = {"send_type": "individual", "to": f"{ADA},{GRACE}", "message": {"text": "Hello"}}
    return tenant.make("/broadcast", **{**usual, **fields})


def paused(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    made = send(tenant, **fields)
    answer = tenant.post(f"/broadcast/{made['_id']}/pause")
    shown: dict[str, Any] = answer.json["data"]
    return shown


def edit(tenant: Tenant, made: dict[str, Any], **fields: Any) -> Any:
    return tenant.put(f"/broadcast/{made['_id']}", json=fields)


def fan_out(tenant: Tenant, made: dict[str, Any]) -> None:
    with tenant.crier.database.writing() as db:
        assert chunks.fan_out(db, made["_id"], now=now_ms())


def tell(tenant: Tenant, made: dict[str, Any], values: str) -> None:
    """Change the first delivery of a broadcast, as only a dispatcher does."""
    first = "id = (SELECT min(id) FROM deliveries WHERE broadcast_id = :id)"
    with tenant.crier.database.writing() as db:
        db.execute(text(f"UPDATE deliveries SET {values} WHERE {first}"), {"id": made["_id"]})  # noqa: S608 - the test's own words


def recipients(tenant: Tenant, made: dict[str, Any]) -> list[str]:
    answer = tenant.get(f"/broadcast/{made['_id']}/delivery")
    return [each["recipient"] for each in answer.json["data"]]


@pytest.mark.parametrize("is_fanned_out", [False, True])
@pytest.mark.parametrize("state", ["scheduled", "paused"])
def test_what_nobody_has_got_is_replaced(acme: Tenant, state: str, is_fanned_out: bool) -> None:  # noqa: FBT001 - a parameter of the test
    made = send(acme, send_at=LATER) if state == "scheduled" else paused(acme)
    if is_fanned_out:
        fan_out(acme, made)
    answer = edit(acme, made, to=[JOAN], message={"text": "Goodbye"})
    assert (answer.status_code, answer.json["message"]) == (200, "Broadcast updated successfully!")
    data = answer.json["data"]
    assert (data["_id"], data["status"]) == (made["_id"], state)
    assert (data["to"], data["message"]) == ([JOAN], {"text": "Goodbye"})
    assert data["counts"]["total"] == 1
    assert data["__v"] > made["__v"]
    fan_out(acme, made)
    assert recipients(acme, made) == [JOAN]
    with acme.crier.database.reading() as db:
        assert db.scalars(select(Broadcast.content)).one()["text"] == "Goodbye"


def test_what_is_left_out_stays(acme: Tenant) -> None:
    made = send(acme, send_at=LATER, expires_at="2030-01-01T10:00:00.000Z")
    changed = edit(acme, made, message={"text": "Goodbye"}).json["data"]
    kept = ("to", "send_at", "expires_at", "session_id", "status", "send_type")
    assert {name: changed[name] for name in kept} == {name: made[name] for name in kept}
    moved = edit(acme, made, send_at="2030-01-02T09:00:00Z").json["data"]
    assert moved["expires_at"] == "2030-01-02T10:00:00.000Z"
    assert moved["message"] == {"text": "Goodbye"}


def test_the_whole_object_is_taken_back(acme: Tenant) -> None:
    made = send(acme, send_at=LATER)
    whole = acme.get(f"/broadcast/{made['_id']}").json["data"]
    answer = edit(acme, made, **{**whole, "to": ADA})
    assert answer.status_code == 200, answer.text
    assert answer.json["data"]["to"] == ADA
    assert edit(acme, made, **whole).status_code == 409
    # Its recipients are not even read.
    assert edit(acme, made, **{**whole, "to": "12"}).status_code == 409
    assert edit(acme, made, nonsense=1).status_code == 422


def test_a_time_that_has_come_sends_it_and_one_to_come_schedules_it(acme: Tenant) -> None:
    made = send(acme, send_at=LATER)
    assert edit(acme, made, send_at="2024-01-01T09:00:00Z").json["data"]["status"] == "sending"
    made = paused(acme)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    data = edit(acme, made, send_at=tomorrow).json["data"]
    assert (data["status"], data["reason"]) == ("scheduled", None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("status = 'sending', claim_id = 'c'", "Try again in a second"),
        ("status = 'sent', attempts = 1", "1 of 2"),
        ("attempts = 1", "1 of 2"),
        ("message_ids = 'm1'", "1 of 2"),
        ("status = 'uncertain'", "1 of 2"),
    ],
)
def test_what_somebody_may_have_is_not_replaced(acme: Tenant, values: str, said: str) -> None:
    made = paused(acme)
    fan_out(acme, made)
    tell(acme, made, values)
    answer = edit(acme, made, message={"text": "Goodbye"})
    assert answer.status_code == 409
    assert said in answer.json["message"]
    assert acme.get(f"/broadcast/{made['_id']}").json["data"]["message"] == {"text": "Hello"}


def test_somebody_left_out_for_an_opt_out_has_not_got_it(acme: Tenant) -> None:
    made = paused(acme)
    acme.post(f"/session/{made['session_id']}/opt-out", json={"recipient": ADA})
    fan_out(acme, made)
    data = edit(acme, made, to=[ADA, JOAN]).json["data"]
    assert (data["counts"]["failed"], data["counts"]["total"]) == (0, 2)
    fan_out(acme, made)
    counts = acme.get(f"/broadcast/{made['_id']}").json["data"]["counts"]
    assert (counts["failed"], counts["pending"]) == (1, 1)


def test_what_is_under_way_or_over_is_not_replaced_and_the_answer_says_why(acme: Tenant) -> None:
    made = send(acme)
    answer = edit(acme, made, to=[JOAN])
    assert answer.status_code == 409
    assert "Pause it first" in answer.json["message"]
    acme.delete(f"/broadcast/{made['_id']}")
    assert edit(acme, made, to=[JOAN]).status_code == 404


def test_a_fault_is_named_and_everything_stays(acme: Tenant) -> None:
    made = send(acme, send_at=LATER)
    for fields, field in (
        ({"to": "12"}, "to.0"),
        ({"message": {}}, "message"),
        ({"message": {"attachments": ["0" * 24]}}, "message.attachments.0"),
        ({"message": {"location": {"lat": "1"}}}, "message.location.lng"),
        ({"expires_at": "2029-01-01T00:00:00Z"}, "expires_at"),
    ):
        answer = edit(acme, made, **fields)
        assert answer.status_code == 422, answer.text
        assert field in answer.json["errors"]
    assert acme.get(f"/broadcast/{made['_id']}").json["data"] == made
    assert edit(acme, made, session_id="0" * 24).status_code == 404


def test_files_are_held_by_what_it_says_now(acme: Tenant) -> None:
    former, present = upload(acme), upload(acme)
    made = send(acme, send_at=LATER, message={"attachments": [former["_id"]]})
    edit(acme, made, message={"attachments": [present["_id"]]})
    assert acme.delete(f"/attachment/{former['_id']}").status_code == 200
    assert acme.delete(f"/attachment/{present['_id']}").status_code == 409


def test_a_list_too_long_to_be_shown_stays_unless_another_is_sent(acme: Tenant) -> None:
    many = [f"23481798{number:05d}" for number in range(1_100)]
    made = send(acme, send_at=LATER, to=many)
    whole = acme.get(f"/broadcast/{made['_id']}").json["data"]
    data = edit(acme, made, **{**whole, "message": {"text": "Goodbye"}}).json["data"]
    assert (data["counts"]["total"], data["message"]) == (1_100, {"text": "Goodbye"})
    other = acme.make("/session", name="other", channel="sandbox")["_id"]
    refused = edit(acme, made, session_id=other)
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["to"])
    assert edit(acme, made, session_id=other, to=many).json["data"]["session_id"] == other
    with acme.crier.database.reading() as db:
        assert db.scalars(select(Delivery)).first() is None


def test_a_sessions_token_edits_what_is_its_sessions(acme: Tenant) -> None:
    first, second = own(acme, "first"), own(acme, "second")
    made = send(acme, send_at=LATER, session_id=second.session_id)
    path = f"/broadcast/{made['_id']}"
    assert ask(acme, "PUT", path, first, to=JOAN).status_code == 404
    answer = ask(acme, "PUT", path, second, to=JOAN)
    assert (answer.status_code, answer.json["data"]["session_id"]) == (200, second.session_id)
