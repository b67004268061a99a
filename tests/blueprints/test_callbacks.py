"""Callbacks over HTTP; how events are posted is tested in dispatch."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from service.core import callbacks, outbox
from service.database import now_ms
from service.models import EventType
from tests.conftest import Tenant, on_sqlite

EVENTS = ["opt_out.changed", "session.held"]
URL = "https://93.184.215.14/hook?key=1"


@pytest.fixture(autouse=True)
def session(acme: Tenant) -> str:
    return str(acme.make("/session", name="main", channel="sandbox")["_id"])


def data(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json["data"]


def test_a_secret_is_shown_once_and_can_be_replaced(acme: Tenant) -> None:
    made = acme.make("/callback", url=URL, events=[*EVENTS, EVENTS[0]])
    path = f"/callback/{made['_id']}"
    assert made["secret"].startswith("whsec_")
    shown = data(acme.get(path))
    assert shown == {name: made[name] for name in made if name != "secret"}
    assert (shown["url"], shown["events"], shown["paused"]) == (URL, EVENTS, False)
    again = data(acme.post(f"{path}/secret"), 201)
    assert again["secret"] not in {made["secret"], ""}
    with acme.crier.database.reading() as db:
        row = callbacks.get(db, acme.id, made["_id"])
    assert again["secret"] not in row.secrets
    assert acme.crier.accounts.opened(row.secrets) == {"secret": again["secret"]}


def test_a_callback_is_changed_paused_and_deleted(acme: Tenant) -> None:
    made = acme.make("/callback", url=URL, events=EVENTS)
    path = f"/callback/{made['_id']}"
    changed = data(acme.put(path, json={"events": ["reply.received"], "paused": True}))
    assert (changed["paused"], changed["reason"]) == (True, "Paused by the client.")
    assert data(acme.put(path, json={**changed, "paused": False}))["pausedAt"] is None
    assert acme.put(path, json={"__v": 0, "paused": True}).status_code == 409
    assert data(acme.delete(path))["_id"] == made["_id"]
    assert acme.get(path).status_code == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "ftp://93.184.215.14/"}, "url"),
        ({"url": "https://user:pass@93.184.215.14/"}, "url"),
        ({"url": "https://93.184.215.14/#top"}, "url"),
        ({"url": "https://93.184.215.14/a b"}, "url"),
        ({"url": f"https://93.184.215.14/{'x' * 2_048}"}, "url"),
        ({"url": "https://[::1/"}, "url"),
        ({"url": "http://127.0.0.1:9/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "http://:80/"}, "url"),
        ({"url": "https://93.184.215.14:0/"}, "url"),
        ({"url": "https://93.184.215.14:65536/"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": "http://[64:ff9b::a9fe:a9fe]/"}, "url"),
        ({"url": "http://localhost/"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["broadcast.begun"]}, "events.0"),
    ],
)
@on_sqlite
def test_what_cannot_be_called_or_told_is_refused(
    acme: Tenant, changes: dict[str, Any], field: str
) -> None:
    answer = acme.post("/callback", json={"url": URL, "events": EVENTS, **changes})
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]
    assert data(acme.get("/callback")) == []


@on_sqlite
def test_a_name_that_leads_to_a_private_address_is_refused_when_made_or_changed(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = acme.make("/callback", url=URL, events=EVENTS)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    body = {"url": "https://inside.example/", "events": EVENTS}
    for answer in (
        acme.post("/callback", json=body),
        acme.put(f"/callback/{made['_id']}", json=body),
    ):
        assert answer.status_code == 422
        assert "10.0.0.7 is a private address" in answer.json["errors"]["url"][0]


def test_events_are_listed_shown_and_sent_again(acme: Tenant, session: str) -> None:
    made = acme.make("/callback", url=URL, events=EVENTS)
    for recipient in ("12025550110", "12025550111"):
        acme.make(f"/session/{session}/opt-out", recipient=recipient)
    path = f"/callback/{made['_id']}/event"
    newest, oldest = data(acme.get(path))
    assert (newest["type"], newest["status"], newest["attempts"]) == (EVENTS[0], "waiting", 0)
    assert data(acme.get(f"{path}?status=failed")) == []
    body = data(acme.get(f"{path}/{oldest['_id']}"))["body"]
    assert (body["type"], body["timestamp"]) == ("opt_out.changed", oldest["createdAt"])
    assert body["data"] == {
        "session_id": session,
        "recipients": ["12025550110"],
        "opted_out": True,
    }
    with acme.crier.database.writing() as db:
        event = callbacks.get_event(db, acme.id, made["_id"], oldest["_id"])
        event.status, event.problem = "failed", "The receiver answered 500."
    again = data(acme.post(f"{path}/{oldest['_id']}/resend"))
    assert (again["status"], again["problem"]) == ("waiting", None)
    other = acme.make("/callback", url=URL, events=EVENTS)
    strange = f"/callback/{other['_id']}/event/{oldest['_id']}"
    assert acme.get(strange).status_code == 404


def test_who_wants_what_is_read_from_the_database_every_two_seconds_at_most(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.make("/callback", url=URL, events=EVENTS)
    reads: list[Any] = []

    def read(db: Any) -> dict[Any, Any]:
        reads.append(db)
        return {}

    monkeypatch.setattr(outbox, "_read", read)
    clock = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: clock)

    def emit() -> None:
        with acme.crier.database.writing() as db:
            outbox.emit(db, acme.id, EventType.SESSION_HELD, "s" * 24, {}, sequence=1, now=now_ms())

    for _ in range(5):
        emit()
    assert len(reads) == 1
    clock += 2.1
    emit()
    assert len(reads) == 2
