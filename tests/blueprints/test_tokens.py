"""Tokens over HTTP: made, listed, replaced and ended by an administrator."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text, update

from service.app import Application
from service.core.tokens import Scope
from service.database import now_ms
from service.models import Token
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser
from tests.waiting import LIMIT, until

DAY = 86_400_000

MakeApp = Callable[..., Application]


def works(tenant: Tenant, secret: str) -> int:
    """Return the status of a request with a token."""
    headers = {"Authorization": f"Bearer {secret}"}
    return tenant.get("/broadcast", headers=headers).status_code


def listed(tenant: Tenant) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tenant.get("/token").json["data"]
    return found


def test_a_token_is_made_shown_once_and_listed(acme: Tenant) -> None:
    made = acme.make("/token", name="shop", scope="read", days=40)
    secret = made["access_token"]
    assert works(acme, secret) == 200
    assert acme.post("/group", headers={"Authorization": f"Bearer {secret}"}).status_code == 403
    shown = acme.get(f"/token/{made['_id']}").json["data"]
    assert "access_token" not in shown
    assert shown["prefix"] == secret[:12]
    assert (shown["name"], shown["scope"], shown["session_id"]) == ("shop", "read", None)
    assert (shown["status"], shown["revokedAt"], shown["replaced_by"]) == ("valid", None, None)
    assert secret not in acme.get("/token").text
    assert [each["_id"] for each in listed(acme)][-1] == made["_id"]


@on_sqlite
def test_a_token_expires_after_a_year_unless_it_is_asked_otherwise(acme: Tenant) -> None:
    for days, body in ((365, {}), (1, {"days": 1}), (36_500, {"days": 36_500})):
        made = acme.make("/token", name="shop", **body)
        with acme.crier.database.reading() as db:
            expires_at = db.get_one(Token, made["_id"]).expires_at or 0
        assert abs(expires_at - now_ms() - days * DAY) < DAY / 2
        assert made["status"] == ("expiring" if days == 1 else "valid")
        assert made["scope"] == "send"


@on_sqlite
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a\nb"),
        ("name", "x" * 201),
        ("scope", "root"),
        ("scope", ["read"]),
        ("days", 0),
        ("days", 36_501),
        ("days", 1.5),
        ("days", "9" * 400),
        ("forever", True),
    ],
)
def test_a_token_that_cannot_be_made_is_refused(acme: Tenant, field: str, value: Any) -> None:
    answer = acme.post("/token", json={"name": "shop", field: value})
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])
    assert len(listed(acme)) == 1


@pytest.mark.parametrize(("overlap", "status"), [(3_600, 200), (0, 401)])
def test_a_token_is_replaced_by_one_that_may_do_the_same(
    acme: Tenant, overlap: int, status: int
) -> None:
    former = acme.make("/token", name="shop", scope="read")
    path = f"/token/{former['_id']}"
    answer = acme.post(f"{path}/rotate", json={"overlap": overlap, "days": 90})
    new = answer.json["data"]
    assert answer.status_code == 201
    assert (new["name"], new["scope"]) == ("shop", "read")
    assert works(acme, new["access_token"]) == 200
    assert works(acme, former["access_token"]) == status
    shown = acme.get(path).json["data"]
    assert shown["replaced_by"] == new["_id"]
    assert shown["status"] == ("expiring" if overlap else "expired")
    assert acme.post(f"{path}/rotate").status_code == 409


def test_without_a_body_the_former_token_stays_valid_for_a_day(acme: Tenant) -> None:
    former = acme.make("/token", name="shop")
    assert acme.post(f"/token/{former['_id']}/rotate").status_code == 201
    with acme.crier.database.reading() as db:
        expires_at = db.get_one(Token, former["_id"]).expires_at or 0
    assert abs(expires_at - now_ms() - DAY) < 60_000


@on_sqlite
@pytest.mark.parametrize("overlap", [-1, 30 * 86_400 + 1, "1e9"])
def test_an_overlap_has_a_limit(acme: Tenant, overlap: Any) -> None:
    path = f"/token/{acme.make('/token', name='shop')['_id']}/rotate"
    answer = acme.post(path, json={"overlap": overlap})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["overlap"])


def test_a_revoked_token_ends_at_once_with_whoever_signed_in_by_it(acme: Tenant) -> None:
    made = acme.make("/token", name="office", scope="admin")
    visitor = ConsoleUser(acme, made["access_token"])
    path = f"/token/{made['_id']}"
    for _ in range(2):
        assert acme.delete(path).json["data"]["status"] == "revoked"
    assert works(acme, made["access_token"]) == 401
    assert visitor.get("/").status_code == 303
    assert acme.post(f"{path}/rotate").status_code == 409


def test_a_replaced_token_ends_with_whoever_signed_in_by_it(acme: Tenant) -> None:
    made = acme.make("/token", name="office", scope="admin")
    visitor = ConsoleUser(acme, made["access_token"])
    assert visitor.get("/").status_code == 200
    assert acme.post(f"/token/{made['_id']}/rotate", json={"overlap": 0}).status_code == 201
    assert visitor.get("/").status_code == 303


def test_a_token_may_replace_and_revoke_itself(acme: Tenant) -> None:
    [mine] = listed(acme)
    new = acme.post(f"/token/{mine['_id']}/rotate", json={"overlap": 60}).json["data"]
    assert acme.delete(f"/token/{mine['_id']}").status_code == 200
    assert acme.get("/token").status_code == 401
    acme.token = new["access_token"]
    assert len(listed(acme)) == 2


def test_the_token_of_a_session_is_listed_replaced_and_revoked_alike(acme: Tenant) -> None:
    session = acme.make("/session", name="main", channel="sandbox")
    [_, first] = listed(acme)
    assert (first["session_id"], first["scope"]) == (session["_id"], None)
    assert first["prefix"] == session["access_token"][:20]
    new = acme.post(f"/token/{first['_id']}/rotate", json={"overlap": 60}).json["data"]
    assert new["access_token"].startswith("crier_session_")
    for secret in (session["access_token"], new["access_token"]):
        answer = acme.get("/session", headers={"Authorization": f"Bearer {secret}"})
        assert [each["_id"] for each in answer.json["data"]] == [session["_id"]]
    acme.delete(f"/token/{new['_id']}")
    assert works(acme, new["access_token"]) == 401
    acme.delete(f"/token/{first['_id']}")
    assert acme.get(f"/session/{session['_id']}").json["data"]["has_token"] is False


def test_a_sessions_new_token_may_overlap_with_the_former_ones(acme: Tenant) -> None:
    session = acme.make("/session", name="main", channel="sandbox")
    path = f"/session/{session['_id']}/token"
    second = acme.post(path, json={"overlap": 3_600}).json["data"]["access_token"]
    assert [works(acme, each) for each in (session["access_token"], second)] == [200, 200]
    third = acme.post(path).json["data"]["access_token"]
    assert [works(acme, each) for each in (session["access_token"], second, third)] == [
        401,
        401,
        200,
    ]


def test_with_its_session_a_token_ends(acme: Tenant) -> None:
    session = acme.make("/session", name="main", channel="sandbox")
    acme.delete(f"/session/{session['_id']}")
    assert works(acme, session["access_token"]) == 401
    assert listed(acme)[-1]["status"] == "revoked"


def test_the_last_use_is_told(acme: Tenant) -> None:
    made = acme.make("/token", name="shop", scope="read")
    path = f"/token/{made['_id']}"
    assert acme.get(path).json["data"]["lastUsedAt"] is None
    works(acme, made["access_token"])
    first = acme.get(path).json["data"]
    assert first["lastUsedAt"] >= made["createdAt"]
    works(acme, made["access_token"])
    again = acme.get(path).json["data"]
    assert (again["lastUsedAt"], again["__v"]) == (first["lastUsedAt"], made["__v"])


@contextmanager
def held(tenant: Tenant) -> Iterator[None]:
    """Let nobody else write to the tokens, as if another process did."""
    database = tenant.crier.database
    writing = "UPDATE tokens SET name = name"
    if not database.is_sqlite:
        writing = "LOCK TABLE tokens IN SHARE MODE"
    with database.writer.begin() as connection:
        connection.execute(text(writing))
        yield


def test_a_use_that_cannot_be_noted_changes_no_answer(make_app: MakeApp) -> None:
    acme, hasty = Tenant(make_app(), "Acme"), make_app(database_timeout=1.0).test_client()
    made = acme.make("/token", name="shop", scope="read")
    with held(acme):
        headers = {"Authorization": f"Bearer {made['access_token']}"}
        assert hasty.get("/broadcast", headers=headers).status_code == 200
    assert acme.get(f"/token/{made['_id']}").json["data"]["lastUsedAt"] is None


def test_while_nothing_can_be_written_one_thread_waits_and_the_others_answer(
    make_app: MakeApp,
) -> None:
    acme = Tenant(make_app(database_timeout=LIMIT), "Acme")
    made = acme.make("/token", name="shop", scope="read")
    answered: list[int] = []

    def ask() -> None:
        answered.append(works(acme, made["access_token"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    with held(acme):
        for thread in threads:
            thread.start()
        until(lambda: len(answered) >= len(threads) - 1)
        assert not all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()
    assert answered == [200] * 4


def test_a_token_that_expires_soon_is_told_in_the_log_once_a_day(
    acme: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    made = acme.make("/token", name="shop", scope="read", days=20)
    capsys.readouterr()
    for _ in range(2):
        works(acme, made["access_token"])
    with acme.crier.database.writing() as db:
        db.execute(update(Token).values(last_used_at=now_ms() - 2 * DAY))
    works(acme, made["access_token"])
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    warned = [line for line in lines if line["event"] == "a token expires soon"]
    assert [line["token"] for line in warned] == [made["_id"]] * 2
    assert {line["level"] for line in warned} == {"warning"}
    assert made["access_token"] not in str(lines)


def test_a_metric_counts_the_tokens_that_expire_soon(acme: Tenant) -> None:
    acme.make("/token", name="shop", days=29)
    acme.make("/token", name="shop", days=31)
    assert "crier_tokens_expiring 1.0" in acme.get("/metrics").text


def test_at_the_limit_of_many_at_once_exactly_so_many_get_one(
    make_app: MakeApp,
) -> None:
    acme = Tenant(make_app(limit_tokens=5), "Acme")
    acme.make("/session", name="main", channel="sandbox")  # whose token does not count
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(acme.post("/token", json={"name": "shop"}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] * 4 + [409] * 8


def test_of_many_who_replace_a_token_at_once_one_does(acme: Tenant) -> None:
    made = acme.make("/token", name="shop")
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(acme.post(f"/token/{made['_id']}/rotate").status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 7
    assert len(listed(acme)) == 3


def test_the_console_replaces_a_token_and_shows_the_new_one_once(acme: Tenant) -> None:
    made = acme.make("/token", name="shop", scope="read")
    visitor = ConsoleUser(acme)
    page = visitor.post(f"/tokens/{made['_id']}/rotate", overlap="7").text
    new = page.partition('id="secret">')[2].partition("<")[0]
    assert [works(acme, each) for each in (new, made["access_token"])] == [200, 200]
    assert "last used" in visitor.get("/tokens").text
    assert new not in visitor.get("/tokens").text
    assert acme.new_token(Scope.READ) not in page
