"""Sessions' own tokens: what goes with one, alone and beside the client's token."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from service.app import Application
from service.core import tokens
from service.core.tokens import Scope
from service.database import now_ms
from service.models import Session
from tests.blueprints.test_guide import upload
from tests.conftest import Tenant, on_sqlite

NOBODY = {"Authorization": ""}
TEXT = {"send_type": "individual", "to": "2348179803743", "message": {"text": "Hello"}}


class Own(NamedTuple):
    """A session and its own token, as a program is configured with them."""

    session_id: str
    access_token: str


def own(tenant: Tenant, name: str = "main") -> Own:
    made = tenant.make("/session", name=name, channel="sandbox")
    return Own(made["_id"], made["access_token"])


def ask(tenant: Tenant, method: str, path: str, token: Own, **fields: Any) -> Any:
    """Send a request that carries a session's own token and no other."""
    return tenant.ask(method, path, json={**token._asdict(), **fields}, headers=NOBODY)


def test_a_token_is_shown_once_and_its_digest_alone_is_kept(acme: Tenant) -> None:
    token = own(acme)
    assert re.fullmatch("crier_session_[0-9a-f]{40}", token.access_token)
    for path in ("/session", f"/session/{token.session_id}"):
        answer = acme.get(path)
        assert token.access_token not in answer.text
        assert "access_token" not in answer.text
    with acme.crier.database.reading() as db:
        held = " ".join(str(value) for value in vars(db.scalars(select(Session)).one()).values())
    assert token.access_token.removeprefix("crier_session_") not in held


def test_a_new_token_ends_the_one_before(acme: Tenant) -> None:
    former = own(acme)
    version = acme.get(f"/session/{former.session_id}").json["data"]["__v"]
    answer = acme.post(f"/session/{former.session_id}/token")
    assert answer.status_code == 201
    made = answer.json["data"]
    assert made["__v"] == version
    assert ask(acme, "GET", "/broadcast", former).status_code == 401
    assert (
        ask(acme, "GET", "/broadcast", former._replace(access_token=made["access_token"]))
    ).status_code == 200


def test_a_session_of_before_has_no_token_until_one_is_made(acme: Tenant) -> None:
    token = own(acme)
    with acme.crier.database.writing() as db:
        tokens.revoke_of_session(db, token.session_id, now_ms())
    path = f"/session/{token.session_id}"
    assert acme.get(path).json["data"]["has_token"] is False
    assert ask(acme, "GET", "/broadcast", token).status_code == 401
    assert acme.post(f"{path}/token").status_code == 201
    assert acme.get(path).json["data"]["has_token"] is True


@on_sqlite
@pytest.mark.parametrize("place", ["body", "query", "both", "bearer", "without id"])
def test_a_token_is_taken_wherever_it_stands(acme: Tenant, place: str) -> None:
    own(acme, "other")
    token = own(acme)
    fields = token._asdict()
    request: dict[str, Any] = {
        "body": {"json": fields},
        "query": {"query_string": fields},
        "both": {"json": fields, "query_string": fields},
        "bearer": {"headers": {"Authorization": f"Bearer {token.access_token}"}},
        "without id": {"json": {"access_token": token.access_token}},
    }[place]
    answer = acme.get("/session", **{"headers": NOBODY, **request})
    assert [each["_id"] for each in answer.json["data"]] == [token.session_id]


def test_it_sends_through_its_session_and_sees_nothing_of_another(acme: Tenant) -> None:
    first, second = own(acme, "first"), own(acme, "second")
    made = ask(acme, "POST", "/broadcast", second, **TEXT).json["data"]
    assert made["session_id"] == second.session_id
    assert ask(acme, "GET", "/broadcast", first).json["data"] == []
    assert [each["_id"] for each in ask(acme, "GET", "/broadcast", second).json["data"]] == [
        made["_id"]
    ]
    path = f"/broadcast/{made['_id']}"
    for verb, rest in (
        *(("GET", ""), ("GET", "/delivery"), ("POST", "/pause"), ("POST", "/resume")),
        *(("POST", "/retry"), ("DELETE", "")),
    ):
        assert ask(acme, verb, path + rest, first).status_code == 404, (verb, rest)
    assert ask(acme, "GET", f"/session/{second.session_id}/opt-out", first).status_code == 404
    assert ask(acme, "DELETE", path, second).status_code == 200


def test_it_manages_the_opt_outs_of_its_session(acme: Tenant) -> None:
    token = own(acme)
    path = f"/session/{token.session_id}/opt-out"
    assert ask(acme, "POST", path, token, recipient="2348179803743").status_code == 201
    assert len(ask(acme, "GET", path, token).json["data"]) == 1
    assert ask(acme, "DELETE", f"{path}/2348179803743", token).status_code == 200


def test_it_reaches_no_contact_no_group_and_no_file_of_the_clients(acme: Tenant) -> None:
    token = own(acme)
    contact = acme.make("/contact", name="Ada Obi", phones=["2348179803743"])
    group = acme.make("/group", name="friends", contacts=[contact["_id"]])
    file = upload(acme)
    for path in ("/contact", f"/contact/{contact['_id']}", "/group", f"/group/{group['_id']}"):
        answer = ask(acme, "GET", path, token)
        assert answer.status_code == 403
        assert "Bearer" in answer.json["message"]
    assert ask(acme, "GET", "/attachment", token).json["data"] == []
    assert ask(acme, "GET", f"/attachment/{file['_id']}", token).status_code == 404
    to_group = {"send_type": "group", "to": group["_id"]}
    for fields, field in (
        (TEXT | to_group, "to.0"),
        (TEXT | {"message": {"attachments": [file["_id"]]}}, "message.attachments.0"),
        (TEXT | {"message": {"contactId": contact["_id"]}}, "message.contactId"),
    ):
        answer = ask(acme, "POST", "/broadcast", token, **fields)
        assert (answer.status_code, list(answer.json["errors"])) == (422, [field])


def test_a_file_that_it_stores_is_its_own_and_the_clients(acme: Tenant) -> None:
    token, other = own(acme), own(acme, "other")
    client, acme.token = acme.token, token.access_token
    file = upload(acme)
    acme.token = client
    assert ask(acme, "GET", f"/attachment/{file['_id']}", token).status_code == 200
    assert ask(acme, "GET", f"/attachment/{file['_id']}", other).status_code == 404
    assert acme.get(f"/attachment/{file['_id']}").status_code == 200
    message = {"attachments": [file["_id"]]}
    assert ask(acme, "POST", "/broadcast", token, **TEXT | {"message": message}).status_code == 201


def test_it_changes_neither_its_session_nor_its_token(acme: Tenant) -> None:
    token = own(acme)
    path = f"/session/{token.session_id}"
    for method, rest in (("PUT", ""), ("DELETE", ""), ("POST", "/token")):
        answer = ask(acme, method, path + rest, token)
        assert (answer.status_code, answer.json["status"]) == (403, False), (method, rest)
    assert ask(acme, "POST", "/session", token, name="x", channel="sandbox").status_code == 403


def test_an_idempotency_key_of_another_session_shows_nothing(acme: Tenant) -> None:
    first, second = own(acme, "first"), own(acme, "second")
    answers = [
        acme.post(
            "/broadcast",
            json={"access_token": token.access_token, **TEXT},
            headers={**NOBODY, "Idempotency-Key": "one"},
        )
        for token in (first, first, second)
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert answers[0].json["data"]["_id"] == answers[1].json["data"]["_id"]


def test_both_tokens_together_may_do_what_each_may(acme: Tenant) -> None:
    other, token = own(acme, "other"), own(acme)
    acme.token = acme.new_token(Scope.READ)
    both = token._asdict()
    assert acme.post("/contact", json={**both, "name": "A", "phones": ["1"]}).status_code == 403
    assert acme.get("/contact", json=both).status_code == 200
    # To read is the client's right for all sessions, to send is the session's own for itself.
    made = acme.post("/broadcast", json={**both, **TEXT}).json["data"]
    assert made["session_id"] == token.session_id
    acme.token = acme.new_token(Scope.SEND)
    theirs = acme.post("/broadcast", json={"session_id": other.session_id, **TEXT})
    acme.token = acme.new_token(Scope.READ)
    path = f"/broadcast/{theirs.json['data']['_id']}"
    assert acme.get(path, json=both).status_code == 200
    assert acme.delete(path, json=both).status_code == 404


def test_every_token_of_a_request_must_be_valid_and_of_one_client(
    acme: Tenant, globex: Tenant
) -> None:
    mine, second, theirs = own(acme), own(acme, "second"), own(globex)
    wrong = [
        theirs._asdict(),
        {"access_token": theirs.access_token},
        {"session_id": mine.session_id, "access_token": theirs.access_token},
        {"session_id": mine.session_id, "access_token": second.access_token},
        {"session_id": theirs.session_id, "access_token": mine.access_token},
        {"session_id": mine.session_id, "access_token": f"crier_session_{'0' * 40}"},
        {"session_id": mine.session_id, "access_token": globex.token},
        {"session_id": mine.session_id, "access_token": "0b375583-b9c7-4a86-b95c-7e5064326778"},
    ]
    for fields in wrong:
        for request in ({"json": fields}, {"query_string": fields}):
            answer = acme.get("/broadcast", **request)
            assert (answer.status_code, answer.json["status"]) == (401, False), fields
    gone = {"Authorization": "Bearer crier_0000"}
    assert acme.get("/broadcast", json=mine._asdict(), headers=gone).status_code == 401


def test_a_token_of_each_of_two_sessions_is_refused(acme: Tenant) -> None:
    first, second = own(acme, "first"), own(acme, "second")
    bearer = {"Authorization": f"Bearer {first.access_token}"}
    answer = acme.get("/broadcast", json={"access_token": second.access_token}, headers=bearer)
    assert answer.status_code == 401


class Known(NamedTuple):
    """What a test knows of a token: whose it is, of which session, and whether it may send."""

    client: str
    session_id: str
    sends: bool


def expected(tokens: list[Known | None], session_id: str, whose: str, sends: bool) -> int:  # noqa: FBT001 - as below
    """Return the status of a request by the rules of the contract, told once more."""
    if not tokens or None in tokens:
        return 401
    known = [token for token in tokens if token]
    sessions = {token.session_id for token in known if token.session_id}
    if len({token.client for token in known}) > 1 or len(sessions) > 1:
        return 401
    by_client = [token for token in known if not token.session_id]
    if not any(token.sends or not sends for token in by_client) and not sessions:
        return 403
    if sessions and session_id and session_id not in sessions:
        return 401
    return 404 if session_id and whose != known[0].client else 200


@on_sqlite
@pytest.mark.parametrize("sends", [False, True])
def test_the_rules_hold_for_every_combination(
    make_app: Callable[..., Application],
    sends: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    app = make_app(sign_in_failures=1_000)
    acme, globex = Tenant(app, "Acme"), Tenant(app, "Globex")
    first, second, theirs = own(acme, "first"), own(acme, "second"), own(globex)
    tokens: dict[str, Known | None] = {
        "": None,
        acme.token: Known("Acme", "", sends=True),
        acme.new_token(Scope.READ): Known("Acme", "", sends=False),
        globex.token: Known("Globex", "", sends=True),
        first.access_token: Known("Acme", first.session_id, sends=True),
        second.access_token: Known("Acme", second.session_id, sends=True),
        theirs.access_token: Known("Globex", theirs.session_id, sends=True),
        f"crier_session_{'0' * 40}": None,
    }
    sessions = {"": "", first.session_id: "Acme", theirs.session_id: "Globex"}
    wrong = []
    for bearer, token, (session_id, whose) in itertools.product(tokens, tokens, sessions.items()):
        want = expected(
            [tokens[each] for each in (bearer, token) if each], session_id, whose, sends
        )
        fields = {"session_id": session_id, "access_token": token}
        headers = {"Authorization": f"Bearer {bearer}" if bearer else ""}
        for place in ({"json": fields}, {"query_string": fields}):
            verb, path = ("DELETE", "/broadcast/nothing") if sends else ("GET", "/broadcast")
            status = acme.ask(verb, path, headers=headers, **place).status_code
            # There is nothing to delete: who gets as far as that may do it.
            if status != (404 if sends and want == 200 else want):
                wrong.append((bearer, token, session_id, place, want, status))
    assert wrong == []
