"""Nothing is changed without an entry in the audit log: every operation and form is walked."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import select, text

from service.app import Application
from service.blueprints import actions
from service.blueprints.facts import operation_of, scope_of
from service.console import audit as screen
from service.core import tokens
from service.core.deliveries import chunks
from service.database import now_ms
from service.models import FOREVER, ActionSource, AuditEntry
from tests.blueprints.test_attachments import as_url
from tests.conftest import Tenant, on_sqlite
from tests.house.test_routes import one_of_each

ADA = "12025550110"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
ORDER = {"send_type": "individual", "to": ADA, "message": {"text": "Hello"}}

READS = {"previewGroup"}
"""Operations that change nothing."""

OF_NOTHING = {
    "importContacts",
    "createSandboxReply",
    *("createClientOptOut", "importClientOptOuts", "deleteClientOptOut", "updateOptOutPolicy"),
}
"""Operations that concern many objects, or none that has an id."""

IN_THE_CONSOLE_ALONE = {
    *("sign_in.create", "sign_in.delete"),
    *("broadcast.preview", "preference.update", "template.list"),
}
"""Signing in and out, and forms that store nothing."""

OF_PROVIDERS = {"receiveWebhook", "receiveAppWebhook"}
"""Operations of providers: what they report is in the histories of deliveries."""


def run(tenant: Tenant, statement: str, **values: Any) -> None:
    """Run a statement of SQL, as nobody's action."""
    with tenant.crier.database.writing() as db:
        db.execute(text(statement), values)


def block(tenant: Tenant, made: dict[str, str]) -> None:
    """Block the session, so that a check releases it."""
    del made
    run(tenant, "UPDATE sessions SET held_until = :until, hold_reason = 'x'", until=FOREVER)


def fail(tenant: Tenant, made: dict[str, str]) -> None:
    """Fail the broadcast, so that it can be retried."""
    broadcast_id = made["broadcast_id"]
    with tenant.crier.database.writing() as db:
        chunks.fan_out(db, broadcast_id, now=now_ms())
    run(tenant, "UPDATE deliveries SET status = 'failed' WHERE broadcast_id = :id", id=broadcast_id)
    run(
        tenant,
        "UPDATE broadcasts SET failed = 1, status = 'completed', closed_at = 1 WHERE id = :id",
        id=broadcast_id,
    )


def make_group(tenant: Tenant, made: dict[str, str]) -> None:
    made["group_id"] = tenant.make("/group", name="last")["_id"]


def make_session(tenant: Tenant, made: dict[str, str]) -> None:
    made["session_id"] = tenant.make("/session", name="last", channel="sandbox")["_id"]


class Step(NamedTuple):
    """A request, and what has to be done before, so that it changes something."""

    operation: str
    body: dict[str, Any] = {}  # noqa: RUF012 - never changed
    before: Callable[[Tenant, dict[str, str]], None] = lambda *_: None


STORY = (
    Step("createSession", {"name": "second", "channel": "sandbox"}),
    Step("createSessionToken"),
    Step("checkSession", before=block),
    Step("createContact", {"name": "Ben", "phones": [ADA]}),
    Step("updateContact", {"name": "Ben Obi"}),
    Step("importContacts", {"contacts": b"phone,name\n+12025550111,Joan\n"}),
    Step("createGroup", {"name": "more"}),
    Step("createContactGroup", {"title": "still more"}),
    Step("updateGroup", {"name": "all"}),
    Step("updateContactGroup", {"title": "everybody"}),
    Step("createAttachment", {"file": as_url(PNG)}),
    Step("createBroadcast", ORDER),
    Step("pauseBroadcast"),
    Step("updateBroadcast", {"message": {"text": "Bye"}}),
    Step("resumeBroadcast"),
    Step("retryBroadcast", before=fail),
    Step("createSandboxReply", {"recipient": ADA, "text": "Hello"}),
    Step("createOptOut", {"recipient": "12025550113"}),
    Step("importOptOuts", {"recipients": "12025550112"}),
    Step("deleteOptOut"),
    Step("createClientOptOut", {"recipient": ADA}),
    Step("importClientOptOuts", {"recipients": "12025550112"}),
    Step("deleteClientOptOut"),
    Step("updateOptOutPolicy", {"words": ["enough"]}),
    Step("createCallback", {"url": "https://1.1.1.1/hook", "events": ["opt_out.changed"]}),
    Step("createCallbackSecret"),
    Step("updateCallback", {"events": ["reply.received"]}),
    Step("resendCallbackEvent"),
    Step("deleteCallback"),
    Step("deleteBroadcast"),
    Step("deleteAttachment"),
    Step("deleteGroup"),
    Step("deleteContactGroup", before=make_group),
    Step("deleteContact"),
    Step("createToken", {"name": "shop"}),
    Step("rotateToken"),
    Step("revokeToken"),
    Step("updateSession", {"rate": 7}),
    Step("deleteSession", before=make_session),
)
"""A request of every operation that changes something, in an order in which all of them can."""


def operations(tenant: Tenant) -> dict[str, tuple[str, str]]:
    """Return the method and the path of each operation that is no GET."""
    paths: Any = tenant.get("/openapi.json").json["paths"]
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in paths.items()
        for method, operation in item.items()
        if method not in {"parameters", "get"}
    }


def entries(tenant: Tenant) -> list[AuditEntry]:
    with tenant.crier.database.reading() as db:
        return list(db.scalars(select(AuditEntry).order_by(AuditEntry.id)))


def sent(step: Step) -> dict[str, Any]:
    """Return the body of a step: a form if it has a file, JSON else."""
    if "contacts" in step.body and isinstance(step.body["contacts"], bytes):
        return {"data": {"contacts": (io.BytesIO(step.body["contacts"]), "people.csv")}}
    return {"json": step.body}


@on_sqlite
def test_the_story_has_every_operation_that_changes_something(acme: Tenant) -> None:
    told = [step.operation for step in STORY]
    assert len({*told}) == len(told)
    assert {*told} == operations(acme).keys() - READS - OF_PROVIDERS


@on_sqlite
def test_every_operation_that_changes_something_has_one_entry(acme: Tenant) -> None:
    made, known = one_of_each(acme) | {"recipient": ADA}, operations(acme)
    named: dict[str, str] = {}
    for step in STORY:
        step.before(acme, made)
        method, path = known[step.operation]
        path = re.sub(r"\{(\w+)\}", lambda match: made[match[1]], path)
        before = len(entries(acme))
        answer = acme.ask(method, path, **sent(step))
        assert answer.status_code < 300, (step, answer.json)
        new = entries(acme)[before:]
        assert [entry.request_id for entry in new] == [answer.headers["X-Request-Id"]], step
        [entry] = new
        named[step.operation] = entry.action
        assert (entry.source, entry.client_id) == (ActionSource.API, acme.id)
        assert (entry.token_id, entry.address) == (token_of(acme), "127.0.0.1")
        created = (answer.json["data"] or {}).get("_id") if "create" in step.operation else None
        assert entry.object_id in {None, created, *made.values()}, step
        assert entry.object_id is not None or step.operation in OF_NOTHING, step
    assert all(re.fullmatch("[a-z_]+[.][a-z]+", action) for action in named.values())
    assert named["createContactGroup"] == named["createGroup"] == "group.create"
    assert named["createSessionToken"] == "session_token.create"
    told = str([vars(entry) for entry in entries(acme)])
    for kept_out in (ADA, "12025550113", "Hello", "Ada Obi", "Ben", acme.token):
        assert kept_out not in told


def token_of(tenant: Tenant) -> str:
    with tenant.crier.database.reading() as db:
        return tokens.find(db, tenant.token, now_ms())[0].id


def operated(app: Application) -> set[str]:
    """Return the actions of the API's operations."""
    views = [app.view_functions[rule.endpoint] for rule in app.url_map.iter_rules()]
    return {actions.name_of(operation_of(view)) for view in views if scope_of(view)}


@on_sqlite
def test_every_form_of_the_console_says_what_the_audit_log_calls_it(app: Application) -> None:
    views = app.view_functions
    named = {
        getattr(views[rule.endpoint], "console_action", "")
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/console") and "POST" in (rule.methods or ())
    }
    assert len(named) > 20
    assert named - operated(app) == IN_THE_CONSOLE_ALONE


@on_sqlite
def test_the_console_has_words_for_every_action(app: Application) -> None:
    with app.test_request_context("/console/"):
        for action in (name for name in operated(app) if not is_read(name)):
            noun, _, verb = action.partition(".")
            assert noun in screen.nouns(), action
            assert verb in screen.verbs(), action


def is_read(action: str) -> bool:
    return action.rpartition(".")[2] in {"get", "list", "export", "preview", "count"}
