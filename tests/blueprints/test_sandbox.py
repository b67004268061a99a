"""What the sandbox received, over HTTP."""

from __future__ import annotations

import json

from service.channels.content import Text
from service.channels.conversations import talk
from service.channels.drivers.sandbox import Sandbox
from service.models import Session
from tests.conftest import Tenant


def receive(tenant: Tenant, session_id: str, *recipients: str) -> None:
    """Let the sandbox receive a text for each recipient from a session."""
    with tenant.crier.database.reading() as db:
        driver = tenant.crier.accounts.open(db.get_one(Session, session_id))
    assert isinstance(driver, Sandbox)
    context = tenant.crier.accounts.channels.context
    prepared = driver.prepare(Text("Hello"))
    for recipient in recipients:
        talk(driver.send(recipient, prepared, f"{session_id}-{recipient}"), context)


def test_nothing_received_is_an_empty_list(acme: Tenant) -> None:
    assert acme.get("/sandbox/message").json["data"] == []


def test_each_client_sees_what_its_own_sessions_sent(acme: Tenant, globex: Tenant) -> None:
    mine = acme.make("/session", name="main", channel="sandbox")["_id"]
    theirs = globex.make("/session", name="main", channel="sandbox")["_id"]
    receive(acme, mine, "2348179803743", "2349048988056")
    receive(globex, theirs, "447911123456")
    data = acme.get("/sandbox/message").json["data"]
    assert [message["recipient"] for message in data] == ["2348179803743", "2349048988056"]
    assert list(data[0]) == [
        "message_id",
        "session_id",
        "recipient",
        "kind",
        "body",
        "reference",
        "receivedAt",
    ]
    assert (data[0]["kind"], data[0]["body"]) == ("text", {"body": "Hello"})


def test_it_can_be_paged(acme: Tenant) -> None:
    mine = acme.make("/session", name="main", channel="sandbox")["_id"]
    receive(acme, mine, "2348179803743", "2349048988056", "447911123456")
    page = acme.get("/sandbox/message?page=2&page_size=2")
    assert [message["recipient"] for message in page.json["data"]] == ["447911123456"]
    assert json.loads(page.headers["X-Pagination"])["total"] == 3
    assert acme.get(f"/sandbox/message?page={10**30}").status_code == 422


def test_it_can_be_asked_for_one_recipient(acme: Tenant) -> None:
    mine = acme.make("/session", name="main", channel="sandbox")["_id"]
    receive(acme, mine, "2348179803743", "2349048988056", "447911123456")
    page = acme.get("/sandbox/message?recipient=%2B234%20904%20898%208056")
    assert [message["recipient"] for message in page.json["data"]] == ["2349048988056"]
    assert json.loads(page.headers["X-Pagination"])["total"] == 1
    assert acme.get("/sandbox/message?recipient=2348179803744").json["data"] == []


def test_it_can_be_asked_for_one_session(acme: Tenant, globex: Tenant) -> None:
    main = acme.make("/session", name="main", channel="sandbox")["_id"]
    other = acme.make("/session", name="other", channel="sandbox")["_id"]
    theirs = globex.make("/session", name="main", channel="sandbox")["_id"]
    for tenant, session_id in ((acme, main), (acme, other), (globex, theirs)):
        receive(tenant, session_id, "2348179803743", "2349048988056")
    page = acme.get(f"/sandbox/message?session_id={other}&page_size=1")
    assert [message["session_id"] for message in page.json["data"]] == [other]
    assert json.loads(page.headers["X-Pagination"])["total"] == 2
    assert f"session_id={other}" in page.headers["Link"]
    for nobodys in (theirs, "0" * 24):
        answer = acme.get(f"/sandbox/message?session_id={nobodys}")
        assert answer.status_code == 404
    assert len(acme.get("/sandbox/message?session_id=").json["data"]) == 4
    assert acme.get("/sandbox/message?session_id=other").status_code == 404
