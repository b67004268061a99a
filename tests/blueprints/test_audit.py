"""The audit log over HTTP: what is told of requests, forms and commands, and to whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from service.app import Application
from service.core.tokens import Scope
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

NUMBER = "12025550110"
ORDER = {"send_type": "individual", "to": NUMBER, "message": {"text": "a private matter"}}


Flask = Callable[..., str]


def told(tenant: Tenant, **filters: str) -> list[dict[str, Any]]:
    answer = tenant.get("/audit", query_string=filters)
    assert answer.status_code == 200, answer.json
    entries: list[dict[str, Any]] = answer.json["data"]
    return entries


def actions(tenant: Tenant, **filters: str) -> list[str]:
    return [entry["action"] for entry in told(tenant, **filters)]


@pytest.fixture
def flask(app: Application) -> Flask:
    """Return what runs a command and returns what it printed."""

    def run(*words: str) -> str:
        with app.app_context():
            return app.test_cli_runner().invoke(args=list(words)).output

    return run


def test_the_log_says_who_did_what_with_which_token_and_from_where(acme: Tenant) -> None:
    made = acme.make("/session", name="main", channel="sandbox")
    answer = acme.put(f"/session/{made['_id']}", json={"rate": 5})
    newest, first = told(acme)
    assert newest == {
        "_id": newest["_id"],
        "action": "session.update",
        "source": "api",
        "object_id": made["_id"],
        "token_id": first["token_id"],
        "token": f"test ({acme.token[:12]}…)",
        "address": "127.0.0.1",
        "request_id": answer.headers["X-Request-Id"],
        "changed": ["rate"],
        "detail": None,
        "createdAt": newest["createdAt"],
    }
    assert first["action"] == "session.create"


def test_the_log_is_found_by_action_object_token_and_time(acme: Tenant) -> None:
    session = acme.make("/session", name="main", channel="sandbox")
    acme.token = acme.new_token(Scope.ADMIN)
    contact = acme.make("/contact", name="Ada", phones=[NUMBER])
    [newest, first] = told(acme)
    assert newest["token_id"] != first["token_id"]
    assert told(acme, action="contact.create") == [newest]
    assert told(acme, object_id=session["_id"]) == [first]
    assert told(acme, token_id=newest["token_id"]) == [newest]
    assert told(acme, object_id=contact["_id"], token_id=first["token_id"]) == []
    assert told(acme, until=first["createdAt"]) == []
    assert told(acme, since=first["createdAt"], sort="createdAt") == [first, newest]
    assert told(acme, page_size="1", page="2") == [first]


@on_sqlite
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("object_id", "x"),
        ("token_id", "crier_a1b2c3"),
        ("since", "yesterday"),
        ("until", "1969-01-01T00:00:00Z"),
        ("action", "x" * 101),
        ("page", "2"),
        ("actor", "me"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(acme: Tenant, field: str, value: str) -> None:
    acme.make("/session", name="main", channel="sandbox")
    answer = acme.get("/audit", query_string={field: value})
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])


@on_sqlite
def test_a_time_has_to_end_after_it_begins(acme: Tenant) -> None:
    moment = "2026-01-01T00:00:00Z"
    answer = acme.get("/audit", query_string={"since": moment, "until": moment})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["until"])


def test_what_is_refused_repeated_or_only_looked_at_has_no_entry(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    headers = {"Idempotency-Key": "one"}
    made = acme.post("/broadcast", json=ORDER, headers=headers).json["data"]
    before = told(acme)
    path = f"/broadcast/{made['_id']}"
    for method, where, status, body in (
        ("POST", "/broadcast", 201, {"json": ORDER, "headers": headers}),
        ("POST", "/broadcast?dry_run=true", 200, {"json": ORDER}),
        ("POST", "/broadcast", 422, {"json": ORDER | {"to": "12"}}),
        ("POST", "/session", 409, {"json": {"name": "main", "channel": "sandbox"}}),
        ("POST", f"{path}/resume", 409, {}),
        ("POST", "/group/preview", 200, {"json": {"rule": {"tags": ["vip"]}}}),
        ("DELETE", f"/contact/{'0' * 24}", 404, {}),
        ("GET", path, 200, {}),
    ):
        assert acme.ask(method, where, **body).status_code == status, where
    assert told(acme) == before


def test_nobody_sees_the_log_of_another_client(acme: Tenant, globex: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    [entry] = told(acme)
    assert told(globex) == []
    assert told(globex, object_id=entry["object_id"]) == []
    assert told(globex, token_id=entry["token_id"]) == []


def test_a_sessions_own_token_is_told_of_as_what_allowed_it(acme: Tenant) -> None:
    session = acme.make("/session", name="main", channel="sandbox")
    client, acme.token = acme.token, session["access_token"]
    acme.make("/broadcast", **ORDER)
    acme.token = client
    [newest, first] = told(acme)
    assert newest["action"] == "broadcast.create"
    assert newest["token_id"] != first["token_id"]


def test_signing_in_and_out_and_what_is_done_between_is_told(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    visitor.post("/groups/new", name="friends")
    visitor.post("/sign-out")
    entries = told(acme, sort="createdAt")
    assert [entry["action"] for entry in entries] == [
        "sign_in.create",
        "group.create",
        "sign_in.delete",
    ]
    assert {entry["source"] for entry in entries} == {"console"}
    assert len({entry["token_id"] for entry in entries}) == 1
    assert entries[1]["object_id"] is not None


def test_a_refused_sign_in_is_told_to_the_client_whose_token_it_was(
    acme: Tenant, flask: Flask
) -> None:
    revoked = acme.new_token(Scope.READ)
    flask("token", "revoke", revoked)
    browser = acme.new_browser()
    assert browser.post("/console/sign-in", data={"token": revoked}).status_code == 403
    assert browser.post("/console/sign-in", data={"token": "crier_nonsense"}).status_code == 403
    newest, *_ = told(acme)
    assert newest["action"] == "sign_in.refuse"
    assert newest["detail"] == "This token was revoked."
    assert actions(acme).count("sign_in.refuse") == 1
    seen = flask("audit", "--action", "sign_in.refuse")
    assert len(seen.splitlines()) == 2
    assert "crier_nonsense" not in seen
    assert revoked not in seen


def test_what_the_operator_does_is_told_without_the_operators_machine(
    acme: Tenant, flask: Flask
) -> None:
    for words in (
        ("client", "disable", "Acme"),
        ("client", "enable", "Acme"),
        ("token", "create", "Acme"),
        ("token", "list", "Acme"),
        ("client", "disable", "Nobody"),
    ):
        assert flask(*words)
    entries = told(acme, sort="createdAt")
    assert [entry["action"] for entry in entries] == [
        "client.disable",
        "client.enable",
        "token.create",
    ]
    assert {entry["address"] for entry in entries} == {None}
    assert {entry["source"] for entry in entries} == {"command"}
    assert [entry["object_id"] for entry in entries][:2] == [acme.id, acme.id]
    assert "@" in json.loads(flask("audit", "Acme", "--limit", "1"))["address"]


def test_the_command_prints_the_newest_last_and_takes_filters(
    acme: Tenant, globex: Tenant, flask: Flask
) -> None:
    acme.make("/session", name="main", channel="sandbox")
    globex.make("/group", name="friends")

    def printed(*words: str) -> list[str]:
        return [json.loads(line)["action"] for line in flask("audit", *words).splitlines()]

    assert printed() == ["session.create", "group.create"]
    assert printed("Acme") == ["session.create"]
    assert printed("--limit", "1") == ["group.create"]
    assert printed("--since", "2999-01-01") == []
    assert printed("--until", "2999-01-01T00:00") == ["session.create", "group.create"]
    assert printed("--object", told(acme)[0]["object_id"]) == ["session.create"]
    assert printed("--token", told(globex)[0]["token_id"]) == ["group.create"]


@on_sqlite
@pytest.mark.parametrize(("hops", "address"), [(0, "127.0.0.1"), (1, "203.0.113.7")])
def test_behind_a_proxy_the_address_is_the_callers(
    make_app: Callable[..., Application], hops: int, address: str
) -> None:
    acme = Tenant(make_app(trusted_proxies=hops), "Acme")
    forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
    acme.post("/group", json={"name": "friends"}, headers=forwarded)
    assert [entry["address"] for entry in told(acme)] == [address]
    acme.post("/group", json={"name": "more"}, headers={"X-Forwarded-For": "x" * 4_000})
    assert len(told(acme)[0]["address"]) <= 64


def test_neither_numbers_nor_texts_nor_secrets_are_in_the_log(acme: Tenant, flask: Flask) -> None:
    session = acme.make("/session", name="main", channel="sandbox")
    acme.make("/broadcast", **ORDER)
    acme.make("/opt-out", recipient=NUMBER)
    acme.delete(f"/opt-out/{NUMBER}")
    acme.post(f"/session/{session['_id']}/token")
    visitor = ConsoleUser(acme)
    visitor.post(f"/phones/{NUMBER}/reply", text="a private matter")
    seen = flask("audit")
    assert "…0110" in seen
    for secret in (NUMBER, "a private matter", acme.token, session["access_token"]):
        assert secret not in seen


@on_sqlite
def test_the_screen_shows_what_was_done_and_narrows_it(acme: Tenant) -> None:
    session = acme.make("/session", name="main", channel="sandbox")
    visitor = ConsoleUser(acme)
    visitor.post("/groups/new", name="friends")
    page = visitor.get("/audit").text
    for words in ("Session · created", "Sign-in · created", "Group · created", "127.0.0.1"):
        assert words in page
    one = visitor.get(f"/audit?object_id={session['_id']}").text
    assert "Session · created" in one
    assert "Group · created" not in one
    assert "Groupe · création" in visitor.get("/audit", headers={"Accept-Language": "fr"}).text
    assert visitor.get("/audit?object_id=nonsense&page=9").status_code == 422
    assert "Nothing has been changed yet" in visitor.get("/audit?action=nothing").text
