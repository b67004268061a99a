"""Reports, the search for a recipient and histories over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from service.core import clients
from service.models import DeliveryStatus
from tests.blueprints.test_broadcasts import NUMBERS, deliver, make
from tests.conftest import Tenant

SENT, FAILED, UNCERTAIN = DeliveryStatus.SENT, DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN

_END_SO = text("""
    UPDATE deliveries SET code = :code, reason = :reason
    WHERE recipient BETWEEN :first AND :last
""")


@pytest.fixture(autouse=True)
def session(acme: Tenant) -> str:
    return str(acme.make("/session", name="main", channel="sandbox")["_id"])


def get(tenant: Tenant, path: str) -> Any:
    answer = tenant.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def test_a_report_tells_states_reasons_timeline_rate_and_end(acme: Tenant) -> None:
    made = make(acme)
    deliver(acme, made["_id"], SENT, FAILED)
    report = get(acme, f"/broadcast/{made['_id']}/report")
    assert report["broadcast_id"] == made["_id"]
    assert report["counts"] == get(acme, f"/broadcast/{made['_id']}")["counts"]
    assert report["reasons"] == [
        {
            "status": "failed",
            "code": "code",
            "count": 1,
            "reason": "A reason.",
            "examples": [NUMBERS[1]],
        }
    ]
    first, last = report["timeline"]
    assert (first["sent"], last["sent"], last["failed"]) == (0, 1, 1)
    assert 0 < report["rate"] <= 2
    assert report["estimate"]["ends_at"] > last["at"]
    assert report["estimate"]["expiring"] == 0


def test_reasons_are_grouped_by_status_and_code_the_commonest_first(acme: Tenant) -> None:
    people = [f"1202555{number:04}" for number in range(110, 150)]
    made = make(acme, to=people)
    deliver(acme, made["_id"], *[FAILED] * 30, *[UNCERTAIN] * 10)
    with acme.crier.database.writing() as db:
        for code, reason, first, end in (
            ("131026", "Not on WhatsApp.", 0, 19),
            (None, "Whatever.", 20, 23),
        ):
            values = {"code": code, "reason": reason, "first": people[first], "last": people[end]}
            db.execute(_END_SO, values)
    groups = get(acme, f"/broadcast/{made['_id']}/report")["reasons"]
    assert [(each["status"], each["code"], each["count"]) for each in groups] == [
        ("failed", "131026", 20),
        ("uncertain", "code", 10),
        ("failed", "code", 6),
        ("failed", None, 4),
    ]
    assert groups[0]["examples"] == people[:3]
    asked = {"codes": ["131026", ""], "expires_at": "2998-01-01T00:00:00Z"}
    again = acme.post(f"/broadcast/{made['_id']}/retry", json=asked).json["data"]
    assert (again["counts"]["failed"], again["counts"]["pending"]) == (6, 34)
    assert again["expires_at"] == "2998-01-01T00:00:00.000Z"
    refused = acme.post(f"/broadcast/{made['_id']}/retry", json={"codes": ["131026"]})
    assert refused.status_code == 409
    assert refused.json["message"].endswith("GET /broadcast/{id}/report lists the codes.")
    late = acme.post(f"/broadcast/{made['_id']}/retry", json={"expires_at": "2001-01-01T00:00:00Z"})
    assert late.json["errors"] == {"expires_at": ["Must be in the future."]}


def test_somebodys_deliveries_are_found_across_broadcasts_in_any_notation(
    acme: Tenant, globex: Tenant
) -> None:
    globex.make("/session", name="main", channel="sandbox")
    ids = [make(acme, message={"text": text})["_id"] for text in ("one", "two")]
    for tenant, each in ((acme, ids[0]), (acme, ids[1]), (globex, make(globex)["_id"])):
        deliver(tenant, each, SENT, FAILED)
    for written in (NUMBERS[0], "+234 (0) 817 980-3743", "00234 8179803743"):
        found = get(acme, f"/delivery?recipient={written.replace('+', '%2B')}")
        assert [each["message"]["text"] for each in found] == ["two", "one"]
        assert {each["recipient"] for each in found} == {NUMBERS[0]}
    [page] = get(acme, f"/message-log?recipient={NUMBERS[0]}&page_size=1&page=2&sort=createdAt")
    assert page["message"]["text"] == "two"
    assert get(acme, "/delivery?recipient=nobody") == []


def test_a_national_number_is_searched_for_as_it_is_sent_to(acme: Tenant, session: str) -> None:
    with acme.crier.database.writing() as db:
        clients.mean(db, "Acme", "NG", ["NG"])
    national, abroad = "0817 980 3743", "+1 202 555 0110"
    made = make(acme, to=[national, "0904 898 8056", abroad, "abc"], on_invalid="skip")
    deliver(acme, made["_id"], SENT, SENT)
    acme.make("/sandbox/reply", session_id=session, recipient=f"+{NUMBERS[0]}", text="Yes")
    acme.make("/opt-out", recipient=NUMBERS[0])
    for path in (
        *("/delivery", f"/broadcast/{made['_id']}/delivery"),
        *("/reply", "/opt-out"),
    ):
        for written in (national, "8179803743", NUMBERS[0]):
            [found] = get(acme, f"{path}?recipient={written}")
            assert found["recipient"] == NUMBERS[0]
    exported = acme.get(f"/broadcast/{made['_id']}/delivery.ndjson?recipient={national}")
    assert json.loads(exported.text)["recipient"] == NUMBERS[0]
    for invalid in ("abc", abroad.replace("+", "%2B")):
        [found] = get(acme, f"/delivery?recipient={invalid}")
        assert found["code"] == "invalid"


def test_a_broadcast_is_searched_with_the_region_that_it_names(acme: Tenant) -> None:
    made = make(acme, to=["0817 980 3743", "0904 898 8056"], default_region="NG")
    deliver(acme, made["_id"], SENT, SENT)
    path = f"/broadcast/{made['_id']}/delivery?recipient=08179803743"
    assert [each["recipient"] for each in get(acme, path)] == NUMBERS[:1]
    assert get(acme, "/delivery?recipient=08179803743") == []


def test_one_delivery_is_shown_with_its_history(acme: Tenant) -> None:
    made = make(acme)
    deliver(acme, made["_id"], SENT, FAILED)
    [_, failed] = get(acme, f"/broadcast/{made['_id']}/delivery?page_size=2")
    history = get(acme, f"/delivery/{failed['_id']}")["history"]
    assert [each["what"] for each in history] == ["accepted", "failed"]
    assert history[1]["text"] == "It failed. A reason."
    assert history[1]["at"] == failed["updatedAt"]
