"""Broadcasts to groups with a time: they go to those who are members then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from service.app import Application
from service.core import clients
from service.core.limits import Limit
from service.parts import Crier
from tests.conftest import Tenant
from tests.sending import dispatching
from tests.waiting import until

ADA, GRACE, JOAN = "2348031234567", "2348031234568", "2348031234569"
TOMORROW, SOON = "2998-01-01T00:00:00Z", "2998-01-02T00:00:00Z"


def contact(acme: Tenant, phone: str, **fields: Any) -> str:
    made = acme.make("/contact", name=f"Person {phone[-1]}", phones=[phone], **fields)
    return str(made["_id"])


def scheduled(acme: Tenant, group_id: str, **message: Any) -> str:
    acme.make("/session", name="main", channel="sandbox")
    order = {"send_type": "group", "to": group_id, "message": {"text": "Hello"}, **message}
    made = acme.make("/broadcast", **order, send_at=TOMORROW, expires_at=SOON)
    assert made["status"] == "scheduled"
    return f"/broadcast/{made['_id']}"


@contextmanager
def time_has_come(app: Application, *paths: str) -> Iterator[None]:
    """Let the moment at which some broadcasts start be now, and dispatch."""
    crier: Crier = app.extensions["crier"]
    with crier.database.writing() as db:
        moment = text("UPDATE broadcasts SET send_at = 1 WHERE id = :id")
        db.execute(moment, [{"id": path.rpartition("/")[2]} for path in paths])
    with dispatching(app):
        yield


@pytest.fixture
def crier(app: Application) -> Crier:
    parts: Crier = app.extensions["crier"]
    return parts


def show(acme: Tenant, path: str) -> dict[str, Any]:
    data: dict[str, Any] = acme.get(path).json["data"]
    return data


def test_a_broadcast_with_a_time_goes_to_the_members_of_that_time(
    acme: Tenant, app: Application
) -> None:
    first, second = contact(acme, ADA), contact(acme, GRACE)
    group = acme.make("/group", name="parents", contacts=[first])
    path = scheduled(acme, group["_id"])
    assert show(acme, path)["counts"]["total"] == 1
    acme.put(f"/group/{group['_id']}", json={"contacts": [second, contact(acme, JOAN)]})
    assert show(acme, path)["counts"]["total"] == 1
    with time_has_come(app, path):
        until(lambda: show(acme, path)["status"] == "completed")
    made = show(acme, path)
    assert (made["sent"], made["counts"]["total"]) == ([GRACE, JOAN], 2)
    told = acme.get("/sandbox/message").json["data"]
    assert [each["recipient"] for each in told] == [GRACE, JOAN]


def test_who_matches_a_rule_by_then_gets_it_with_their_own_values(
    acme: Tenant, app: Application
) -> None:
    contact(acme, ADA, tags=["customer"], fields={"first": "Ada"})
    group = acme.make("/group", name="customers", rule={"tags": ["customer"]})
    text = {"message": {"text": "Hello {{first}}"}, "personalise": True}
    path = scheduled(acme, group["_id"], **text)
    contact(acme, GRACE, tags=["customer"], fields={"first": "Grace"})
    with time_has_come(app, path):
        until(lambda: show(acme, path)["status"] == "completed")
    told = acme.get("/sandbox/message").json["data"]
    assert sorted(each["body"]["body"] for each in told) == ["Hello Ada", "Hello Grace"]


def test_what_cannot_start_pauses_and_says_why(acme: Tenant, app: Application) -> None:
    contact(acme, ADA, tags=["customer"], fields={"first": "Ada"})
    group = acme.make("/group", name="customers", rule={"tags": ["customer"]})
    text = {"message": {"text": "Hello {{first}}"}, "personalise": True}
    path = scheduled(acme, group["_id"], **text)
    nameless = contact(acme, GRACE, tags=["customer"])
    with time_has_come(app, path):
        until(lambda: show(acme, path)["status"] == "paused")
        reason = show(acme, path)["reason"]
        assert reason.startswith("Not started: ")
        assert "first" in reason
        acme.put(f"/contact/{nameless}", json={"fields": {"first": "Grace"}})
        assert acme.put(path, json={"send_type": "group"}).status_code == 200
        assert show(acme, path)["counts"]["total"] == 2
        assert acme.post(f"{path}/resume").status_code == 200
        until(lambda: show(acme, path)["status"] == "completed")
    assert len(acme.get("/sandbox/message").json["data"]) == 2


def test_a_group_that_has_grown_beyond_a_limit_keeps_no_other_broadcast_from_its_start(
    acme: Tenant, app: Application, crier: Crier
) -> None:
    people = [contact(acme, phone) for phone in (ADA, GRACE, JOAN)]
    group = acme.make("/group", name="parents", contacts=people[:1])["_id"]
    other = acme.make("/group", name="teachers", contacts=people[:1])["_id"]
    first = scheduled(acme, group)
    order = {"send_type": "group", "to": other, "message": {"text": "Hello"}}
    made = acme.make("/broadcast", **order, send_at=TOMORROW, expires_at=SOON)
    second = f"/broadcast/{made['_id']}"
    with crier.database.writing() as db:
        clients.limit(db, "Acme", {Limit.RECIPIENTS: 3})
    acme.put(f"/group/{group}", json={"contacts": people})
    with time_has_come(app, first, second):
        until(lambda: show(acme, second)["status"] == "completed")
    refused = show(acme, first)
    assert (refused["status"], refused["counts"]["total"]) == ("paused", 1)
    assert refused["reason"].startswith("Not started: The limit is 3 recipients a day.")
