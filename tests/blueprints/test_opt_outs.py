"""Opt-outs over HTTP: who is left out of what a session sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.core import opt_outs
from service.core.deliveries import chunks
from service.core.deliveries.opted_out import OptOutOwner
from service.database import now_ms
from service.models import Delivery, OptOutSource
from tests.blueprints.test_session_tokens import own
from tests.conftest import Tenant, on_sqlite
from tests.world import ADA, GRACE, numbers

GROUP = "120363041234567890@g.us"


@pytest.fixture
def path(acme: Tenant) -> str:
    """Return where the opt-outs of a session are."""
    made = acme.make("/session", name="main", channel="sandbox")
    return f"/session/{made['_id']}/opt-out"


def told(tenant: Tenant, path: str, recipient: str, *, now: int) -> None:
    """Let the provider have said that somebody wants no more messages."""
    with tenant.crier.database.writing() as db:
        whose = OptOutOwner(session_id=path.split("/")[2])
        opt_outs.remember(db, whose, [recipient], OptOutSource.PROVIDER, now=now)


def listed(tenant: Tenant, path: str, query: str = "") -> list[str]:
    answer = tenant.get(path + query)
    assert answer.status_code == 200, answer.text
    return [each["recipient"] for each in answer.json["data"]]


def test_who_told_the_provider_is_listed_with_moment_and_reason(acme: Tenant, path: str) -> None:
    told(acme, path, ADA, now=1_700_000_000_000)
    answer = acme.get(path)
    assert answer.json["message"] == "Opt-out fetched successfully!"
    [shown] = answer.json["data"]
    assert (shown["recipient"], shown["since"]) == (ADA, "2023-11-14T22:13:20.000Z")
    assert "opted out" in shown["reason"]


def test_the_list_has_pages_in_the_order_of_time(acme: Tenant, path: str) -> None:
    people = numbers(5)
    for recipient, now in zip(people, (3, 3, 3, 1, 2), strict=True):
        told(acme, path, recipient, now=now)
    expected = [people[3], people[4], *people[:3]]
    pages = [f"?page_size=2&page={number}" for number in (1, 2, 3)]
    assert [each for query in pages for each in listed(acme, path, query)] == expected
    assert listed(acme, path, "?sort=-createdAt") == expected[::-1]
    pagination = acme.get(path + pages[0]).headers["X-Pagination"]
    assert json.loads(pagination)["total"] == 5
    assert acme.get(path + "?page=9").status_code == 422


@pytest.mark.parametrize(
    ("written", "recipient"), [(ADA, ADA), ("+234 817 980-3743", ADA), (GROUP, GROUP)]
)
def test_one_is_added_by_hand_and_taken_away_again(
    acme: Tenant, path: str, written: str, recipient: str
) -> None:
    made = acme.make(path, recipient=written)
    assert made["recipient"] == recipient
    assert acme.make(path, recipient=recipient) == made
    assert listed(acme, path) == [recipient]
    gone = acme.delete(f"{path}/{written}")
    assert (gone.status_code, gone.json["data"]) == (200, made)
    assert listed(acme, path) == []
    assert acme.delete(f"{path}/{written}").status_code == 404


@on_sqlite
@pytest.mark.parametrize("body", [{}, {"recipient": ""}, {"recipient": "123"}, {"recipient": 1}])
def test_what_is_no_recipient_is_refused(acme: Tenant, path: str, body: dict[str, Any]) -> None:
    answer = acme.post(path, json=body)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["recipient"])
    assert listed(acme, path) == []


@pytest.mark.parametrize("written", ["nobody", "a%00b", "%2B"])
def test_nobody_else_can_be_taken_away(acme: Tenant, path: str, written: str) -> None:
    acme.make(path, recipient=ADA)
    assert acme.delete(f"{path}/{written}").status_code == 404
    assert listed(acme, path) == [ADA]


def test_sessions_and_clients_have_their_own(acme: Tenant, globex: Tenant, path: str) -> None:
    acme.make(path, recipient=ADA)
    other = acme.make("/session", name="other", channel="sandbox")
    assert listed(acme, f"/session/{other['_id']}/opt-out") == []
    assert acme.delete(f"/session/{other['_id']}/opt-out/{ADA}").status_code == 404
    assert globex.get(path).status_code == 404
    assert globex.post(path, json={"recipient": ADA}).status_code == 404
    assert globex.delete(f"{path}/{ADA}").status_code == 404


def test_whoever_is_added_is_left_out_of_the_next_broadcast(acme: Tenant, path: str) -> None:
    acme.make(path, recipient=ADA)
    order = {"send_type": "individual", "to": [ADA, GRACE], "message": {"text": "Hi"}}
    made = acme.make("/broadcast", **order)
    with acme.crier.database.writing() as db:
        chunks.fan_out(db, made["_id"], now=now_ms())
    with acme.crier.database.reading() as db:
        rows = db.query(Delivery.recipient, Delivery.status).order_by(Delivery.id).all()
    assert [tuple(row) for row in rows] == [(ADA, "failed"), (GRACE, "queued")]


def test_a_client_has_opt_outs_of_its_own_that_no_other_client_sees(
    acme: Tenant, globex: Tenant, path: str
) -> None:
    made = acme.make("/opt-out", recipient=ADA)
    assert (made["recipient"], made["source"]) == (ADA, "manual")
    assert (listed(acme, "/opt-out"), listed(acme, path)) == ([ADA], [])
    assert listed(acme, "/opt-out", f"?recipient=%2B{ADA}") == [ADA]
    assert listed(acme, "/opt-out", f"?recipient={GRACE}") == []
    assert listed(globex, "/opt-out") == []
    assert globex.delete(f"/opt-out/{ADA}").status_code == 404
    assert acme.delete(f"/opt-out/{ADA}").json["data"] == made
    assert listed(acme, "/opt-out") == []


def test_what_is_exported_can_be_imported(acme: Tenant, globex: Tenant, path: str) -> None:
    told(acme, path, ADA, now=1_700_000_000_000)
    assert acme.post("/opt-out/import", json={"recipients": [GRACE, GROUP]}).status_code == 422
    imported = acme.post("/opt-out/import", json={"recipients": f"{GRACE};+{GRACE}"})
    assert imported.json["data"] == {"added": 1, "known": 0}
    exported = acme.get("/opt-out/export").text
    session_id = path.split("/")[2]
    head, grace, ada = exported.split("\r\n")[:3]
    assert head == "recipient,session_id,since,source"
    assert ada == f"{ADA},{session_id},2023-11-14T22:13:20.000Z,provider"
    assert (grace.split(",")[:2], grace.split(",")[3]) == ([GRACE, ""], "import")
    for known in (0, 2):
        answer = globex.post("/opt-out/import", json={"recipients": f"\ufeff{exported}"})
        assert answer.json["data"] == {"added": 2 - known, "known": known}
    assert sorted(listed(globex, "/opt-out")) == sorted([ADA, GRACE])


def test_an_export_has_everybody_once_however_long_its_pages(
    acme: Tenant, globex: Tenant, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.core.opt_outs.EXPORTED", 2)
    people = [f"23480310000{number:02}" for number in range(5)]
    for address in ("/opt-out", path):
        acme.post(f"{address}/import", json={"recipients": people})
    silent, other = own(acme, "silent"), own(acme, "other")
    globex.make("/opt-out", recipient=people[0])
    acme.post(f"/session/{other.session_id}/opt-out/import", json={"recipients": people[::-1]})
    owners = ["", path.split("/")[2], other.session_id]
    lines = acme.get("/opt-out/export").text.split("\r\n")[1:-1]
    expected = [[person, owner] for owner in owners for person in people]
    assert [line.split(",")[:2] for line in lines] == expected
    for token, mine in ((other, expected[-5:]), (silent, [])):
        headers = {"Authorization": f"Bearer {token.access_token}"}
        lines = acme.get("/opt-out/export", headers=headers).text.split("\r\n")[1:-1]
        assert [line.split(",")[:2] for line in lines] == mine


def test_an_import_with_a_bad_entry_stores_nothing_and_names_it(acme: Tenant, path: str) -> None:
    answer = acme.post(f"{path}/import", json={"recipients": [ADA, "12", GRACE]})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["recipients.1"])
    many = ",".join([ADA] * 100_001)
    answer = acme.post(f"{path}/import", json={"recipients": many})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["recipients"])
    assert listed(acme, path) == []


def test_the_policy_keeps_what_is_left_out_of_a_change(acme: Tenant) -> None:
    before = acme.get("/opt-out/policy").json["data"]
    assert (before["reach"], "fr" in before["languages"], before["confirmation"]) == (
        "session",
        True,
        "",
    )
    acme.put("/opt-out/policy", json={"languages": ["fr"], "words": ["assez"]})
    after = acme.put("/opt-out/policy", json={"reach": "client", "words": []}).json["data"]
    assert after == {**before, "languages": ["fr"], "reach": "client"}
    assert acme.get("/opt-out/policy").json["data"] == after


@on_sqlite
@pytest.mark.parametrize(
    "body",
    [{"languages": ["xx"]}, {"reach": "all"}, {"words": [""]}, {"welcome": "x" * 1_001}],
)
def test_a_policy_that_means_nothing_is_refused(acme: Tenant, body: dict[str, Any]) -> None:
    answer = acme.put("/opt-out/policy", json=body)
    assert answer.status_code == 422
    assert next(iter(answer.json["errors"])).startswith(next(iter(body)))
