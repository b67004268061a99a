"""Who may come in, and who is told why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.core import tokens
from service.core.tokens import Scope
from service.database import now_ms
from tests.conftest import Tenant, on_sqlite

NOBODY = {"Authorization": ""}


def refused(answer: Any, status: int, problem: str) -> bool:
    """Tell whether an answer is a refusal in the envelope, with the challenge of RFC 6750."""
    challenge = answer.headers["WWW-Authenticate"]
    wanted = f'error="{problem}"' in challenge if problem else "error" not in challenge
    return bool(answer.status_code == status and answer.json["status"] is False and wanted)


def test_without_a_token_there_is_a_challenge(acme: Tenant) -> None:
    assert refused(acme.get("/broadcast", headers=NOBODY), 401, "")


def test_a_token_that_never_was_is_refused(acme: Tenant) -> None:
    wrong = {"Authorization": f"Bearer crier_{'0' * 40}"}
    assert refused(acme.get("/broadcast", headers=wrong), 401, "invalid_token")


def test_another_scheme_than_bearer_is_no_token(acme: Tenant) -> None:
    basic = {"Authorization": "Basic YTpi"}
    assert refused(acme.get("/broadcast", headers=basic), 401, "")


def test_an_expired_token_is_refused(acme: Tenant) -> None:
    acme.token = acme.new_token(Scope.ADMIN, expires_at=now_ms() - 1)
    answer = acme.get("/broadcast")
    assert refused(answer, 401, "invalid_token")
    assert "expired" in answer.json["message"]


def test_a_revoked_token_is_refused(acme: Tenant) -> None:
    with acme.crier.database.writing() as db:
        tokens.revoke(db, acme.token, now_ms())
    answer = acme.get("/broadcast")
    assert refused(answer, 401, "invalid_token")
    assert "revoked" in answer.json["message"]


@on_sqlite
@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        (Scope.READ, [200, 403, 403]),
        (Scope.SEND, [200, 201, 403]),
        (Scope.ADMIN, [200, 201, 201]),
    ],
)
def test_each_scope_includes_the_lesser_ones(
    acme: Tenant, scope: Scope, statuses: list[int]
) -> None:
    acme.token = acme.new_token(scope)
    answers = [
        acme.get("/contact"),
        acme.post("/contact", json={"name": "Ada", "phones": ["2348179803743"]}),
        acme.post("/session", json={"name": "main", "channel": "sandbox"}),
    ]
    assert [answer.status_code for answer in answers] == statuses
    assert all(
        refused(answer, 403, "insufficient_scope")
        for answer in answers
        if answer.status_code == 403
    )


def test_a_token_in_the_query_string_does(acme: Tenant) -> None:
    assert acme.get(f"/contact?access_token={acme.token}", headers=NOBODY).status_code == 200


def test_tokens_of_two_clients_are_refused_and_two_of_one_client_are_fine(
    acme: Tenant, globex: Tenant
) -> None:
    other = json.dumps({"access_token": globex.token})
    assert refused(acme.get("/contact", data=other), 401, "invalid_token")
    assert refused(acme.get(f"/contact?access_token={globex.token}"), 401, "invalid_token")
    for token in (acme.token, acme.new_token(Scope.READ)):
        assert acme.get("/contact", data=json.dumps({"access_token": token})).status_code == 200


def test_a_named_session_has_to_be_the_callers_own_even_on_reads(
    acme: Tenant, globex: Tenant
) -> None:
    theirs = globex.make("/session", name="main", channel="sandbox")["_id"]
    mine = acme.make("/session", name="main", channel="sandbox")["_id"]
    for path in ("/broadcast", "/contact", "/session"):
        assert acme.get(path, json={"session_id": theirs}).status_code == 404
        assert acme.get(path, json={"session_id": "nonsense"}).status_code == 404
        assert acme.get(path, json={"session_id": mine}).status_code == 200


@pytest.mark.parametrize("name", ["session_id", "access_token"])
def test_credentials_have_to_be_texts(acme: Tenant, name: str) -> None:
    answer = acme.get("/contact", json={name: 5})
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [name]


def test_a_bad_token_is_refused_before_the_body_is_read(acme: Tenant) -> None:
    answer = acme.post("/contact", data="{", headers={"Authorization": "Bearer no"})
    assert answer.status_code == 401


@on_sqlite
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"to": [', ""),
        ('{"access_token": "", "to": [', ""),
        ('{"access_token": "crier_0000", "to": [', "invalid_token"),
        ('{"access_token":"a","access_token":"b","access_token":"c", [', "invalid_token"),
    ],
)
def test_a_stranger_has_nothing_parsed(acme: Tenant, body: str, problem: str) -> None:
    answer = acme.post("/broadcast", data=body, headers=NOBODY)
    assert refused(answer, 401, problem)


@on_sqlite
def test_a_token_in_a_body_is_looked_for_up_to_a_size(acme: Tenant) -> None:
    padded = json.dumps({"access_token": acme.token}) + " " * 4 * 1024 * 1024
    assert refused(acme.post("/contact", data=padded, headers=NOBODY), 401, "")
    assert acme.post("/contact", data=padded).status_code == 422


def test_a_token_in_a_body_opens_it_wherever_it_stands(acme: Tenant) -> None:
    account = {"name": "main", "channel": "waha", "settings": {"access_token": "of-another"}}
    document = json.dumps({**account, "access_token": acme.token}, indent=2)
    answer = acme.post("/session", data=document, headers=NOBODY)
    assert answer.status_code == 422
    broken = acme.post("/session", data=document[:-1], headers=NOBODY)
    assert broken.status_code == 400
