"""Guards: every route asks who is there, keeps clients apart, and is described."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest

from service import ids
from service.app import Application
from service.blueprints.facts import is_by_session, scope_of
from service.core.deliveries import chunks
from service.core.tokens import Scope
from service.database import now_ms
from tests.blueprints.test_guide import upload
from tests.conftest import Tenant

PUBLIC = {
    "/docs",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/public/attachments/<file>",
    "/readyz",
    "/static/<path:filename>",
    "/webhook/whatsapp_cloud",
    "/webhook/<id:session_id>",  # providers sign in place of a token
}
UNDESCRIBED = {"/docs", "/metrics", "/openapi.json", "/static/<path:filename>"}


NEEDED = {
    "/session/<id:session_id>/opt-out": {"recipient": "2348179803743"},
    "/session/<id:session_id>/opt-out/import": {"recipients": "2348179803743"},
}
"""The bodies of routes that read one before they look for the object."""


NO_LISTS = {"/client", "/contact/export", "/opt-out/export", "/opt-out/policy"}
"""Routes of a client that answer something else than a list."""


OF_EVERYBODY = {"/token"}
"""Lists that are not empty even for a new client."""


class Route(NamedTuple):
    """A method at an address, the scope that it asks for, and whether a session's token does."""

    method: str
    rule: str
    scope: Scope | None
    by_session: bool = False


def routes(app: Application) -> list[Route]:
    """Return the routes of the API; those of the console have tests of their own."""
    return [
        Route(method, rule.rule, scope_of(view), is_by_session(view))
        for rule in app.url_map.iter_rules()
        if not rule.rule.startswith("/console")
        for view in [app.view_functions[rule.endpoint]]
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"})  # type: ignore[operator]
    ]


def guarded(app: Application) -> list[Route]:
    return [route for route in routes(app) if route.rule not in PUBLIC]


def one_of_each(tenant: Tenant) -> dict[str, str]:
    """Make an object of every noun; return their ids by the names that rules have for them."""
    session = tenant.make("/session", name="main", channel="sandbox")
    contact = tenant.make("/contact", name="Ada Obi", phones=["2348179803743"])
    group = tenant.make("/group", name="friends", contacts=[contact["_id"]])
    broadcast = tenant.make(
        "/broadcast", send_type="individual", to="2348179803743", message={"text": "Hello"}
    )
    with tenant.crier.database.writing() as db:
        chunks.fan_out(db, broadcast["_id"], now=now_ms())
    tenant.make("/sandbox/reply", recipient="2348179803743", text="Hi")
    (reply,) = tenant.get("/reply").json["data"]
    callback = tenant.make("/callback", url="https://1.1.1.1/", events=["opt_out.changed"])
    tenant.make(f"/session/{session['_id']}/opt-out", recipient="12025550110")
    [event] = tenant.get(f"/callback/{callback['_id']}/event").json["data"]
    return {
        "callback_id": callback["_id"],
        "event_id": event["_id"],
        "delivery_id": ids.delivery(broadcast["_id"], 0),
        "attachment_id": upload(tenant)["_id"],
        "broadcast_id": broadcast["_id"],
        "contact_id": contact["_id"],
        "group_id": group["_id"],
        "reply_id": reply["_id"],
        "session_id": session["_id"],
        "token_id": tenant.make("/token", name="made")["_id"],
    }


def fill(rule: str, made: dict[str, str]) -> str:
    return re.sub(r"<id:(\w+)>", lambda match: made[match[1]], rule)


def test_every_route_asks_for_a_scope_or_is_known_to_be_public(app: Application) -> None:
    assert {route.rule for route in routes(app) if route.scope is None} == PUBLIC


def test_no_route_lets_anybody_in_without_a_token(acme: Tenant, app: Application) -> None:
    for route in guarded(app):
        path = fill(route.rule, dict.fromkeys(_names(route.rule), "0" * 24))
        answer = acme.ask(route.method, path, headers={"Authorization": ""})
        assert answer.status_code == 401, route
        assert answer.json["status"] is False, route
        assert "Bearer" in answer.headers["WWW-Authenticate"], route


@pytest.mark.parametrize("scope", [Scope.READ, Scope.SEND])
def test_no_route_lets_in_a_token_of_a_lesser_scope(
    acme: Tenant, app: Application, scope: Scope
) -> None:
    acme.token = acme.new_token(scope)
    ranks = list(Scope)
    for route in guarded(app):
        assert route.scope is not None
        if ranks.index(route.scope) > ranks.index(scope):
            path = fill(route.rule, dict.fromkeys(_names(route.rule), "0" * 24))
            assert acme.ask(route.method, path).status_code == 403, route


def test_what_belongs_to_one_client_is_not_there_for_another(
    acme: Tenant, globex: Tenant, app: Application
) -> None:
    made = one_of_each(acme)
    by_id = [route for route in guarded(app) if _names(route.rule)]
    assert len(by_id) > 10
    for route in by_id:
        body: dict[str, Any] = {} if route.method == "GET" else {"json": NEEDED.get(route.rule, {})}
        answer = globex.ask(route.method, fill(route.rule, made), **body)
        assert answer.status_code == 404, route
    for route in by_id:
        if route.method == "GET":
            assert acme.get(fill(route.rule, made)).status_code == 200, route


def test_lists_show_a_client_only_its_own(acme: Tenant, globex: Tenant, app: Application) -> None:
    made = one_of_each(acme)
    for route in guarded(app):
        if route.method == "GET" and not _names(route.rule) and route.rule not in NO_LISTS:
            shown = {each["_id"] for each in globex.get(route.rule).json["data"]}
            assert shown.isdisjoint(made.values()), route
            assert shown == set() or route.rule in OF_EVERYBODY, route


def test_a_sessions_own_token_reaches_only_what_belongs_to_its_session(
    acme: Tenant, app: Application
) -> None:
    made = one_of_each(acme)
    other = acme.make("/session", name="other", channel="sandbox")
    acme.token = other["access_token"]
    for route in guarded(app):
        body: dict[str, Any] = {} if route.method == "GET" else {"json": NEEDED.get(route.rule, {})}
        if not route.by_session:
            path = fill(route.rule, made)
            assert acme.ask(route.method, path, **body).status_code == 403, route
        elif _names(route.rule):
            path = fill(route.rule, made)
            assert acme.ask(route.method, path, **body).status_code == 404, route
        elif route.method == "GET" and route.rule not in NO_LISTS:
            shown = [each["_id"] for each in acme.get(route.rule).json["data"]]
            assert shown == ([other["_id"]] if route.rule == "/session" else []), route


def test_every_operation_has_a_name_of_its_own_and_the_guides_are_marked(acme: Tenant) -> None:
    description: Any = acme.get("/openapi.json").json
    operations = {
        operation["operationId"]: (path, operation["tags"])
        for path, item in description["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    count = sum(len(set(item) - {"parameters"}) for item in description["paths"].values())
    assert len(operations) == count
    assert all(re.fullmatch("[a-z]+[A-Z][A-Za-z]+", name) for name in operations)
    guides = {path for path, tags in operations.values() if tags == ["guide"]}
    assert {path.split("/")[1] for path in guides} == {"contact_groups", "message-log"}
    servers = [server["url"] for server in description["servers"]]
    assert servers == ["/", "/api/v1"]


def test_every_route_is_described(acme: Tenant, app: Application) -> None:
    paths = acme.get("/openapi.json").json["paths"]
    described = {
        (method.upper(), path)
        for path, operations in paths.items()
        for method in operations
        if method != "parameters"
    }
    expected = {
        (route.method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.rule))
        for route in routes(app)
        if route.rule not in UNDESCRIBED
    }
    assert described == expected


def _names(rule: str) -> list[str]:
    return re.findall(r"<id:(\w+)>", rule)
