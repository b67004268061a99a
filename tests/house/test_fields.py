"""No field is taken and then ignored: each that is described changes the outcome, or is refused."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from werkzeug.test import TestResponse

from service import ids
from service.channels.drivers import sandbox
from service.channels.webhooks import TemplateNotice
from service.core import approved, clients
from service.core.limits import Limit
from service.models import DeliveryStatus
from service.schemas import pages
from tests.blueprints.test_attachments import as_url
from tests.blueprints.test_broadcasts import deliver
from tests.conftest import Tenant, on_sqlite

pytestmark = on_sqlite
"""What is taken does not depend on the database."""

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
ADA, BEN = "12025550110", "12025550111"
ORDER = {"send_type": "individual", "to": ADA, "message": {"text": "Hello"}}

CALLBACK = {"url": "https://1.1.1.1/hook", "events": ["opt_out.changed"]}

BASES: dict[str, dict[str, Any]] = {
    "createBroadcast": ORDER,
    "createAttachment": {"file": as_url(PNG)},
    "createCallback": CALLBACK,
    "createContact": {"name": "Ada", "phones": [ADA]},
    "createContactGroup": {"name": "friends"},
    "createGroup": {"name": "friends"},
    "createOptOut": {"recipient": ADA},
    "createClientOptOut": {"recipient": ADA},
    "createSandboxReply": {"recipient": ADA, "text": "Hello"},
    "importOptOuts": {"recipients": ADA},
    "importClientOptOuts": {"recipients": ADA},
    "createSession": {"name": "second", "channel": "sandbox"},
    "createToken": {"name": "shop"},
    "previewGroup": {"rule": {"tags": ["vip"]}},
}
"""The least that each operation takes."""

PEOPLE = f"Phone,Other\n+{ADA},{BEN}\n0151 23456789,x\n".encode()
LISTS = {"importContacts": ("import", "contacts"), "createBroadcast": ("broadcast", "recipients")}
"""Operations that take a list of people, and the parts of their forms: a document and a file."""

ELSEWHERE = {"Idempotency-Key", "confirm_countries", "days", "overlap"}
"""Fields that matter in special cases alone, which have tests of their own."""

WRONG = {"access_token": "crier_wrong", "session_id": "0" * 24}
"""What is refused wherever it is taken."""

VALUES: dict[str, Any] = {
    "__v": 99,
    "action": "nothing.happened",
    "daily_limit": 7,
    "jitter": {"from": 0.5, "to": 1},
    "limit_group": "portfolio",
    "object_id": "0" * 24,
    "token_id": "0" * 24,
    "since": "2999-01-01T00:00:00Z",
    "until": "2000-01-01T00:00:00Z",
    "broadcast_id": "0" * 24,
    "button": "yes-1",
    "audience": {"broadcast": "0" * 24},
    "channel": "waha",
    "codes": ["131026"],
    "columns": {"to": "Other"},
    "code": "131026",
    "concurrency": 2,
    "confirmation": "Done.",
    "confirm_countries": True,
    "contacts": ["0" * 24],
    "default": True,
    "default_region": "DE",
    "days": 2,
    "deleted": "true",
    "dry_run": "true",
    "emails": ["ada@example.com"],
    "events": ["session.held"],
    "expires_at": "2999-01-01T00:00:00Z",
    "fallback": [{"session_id": "0" * 24, "after": "failed"}],
    "fields": {"city": "Lagos"},
    "file": as_url(PNG + b"more"),
    "filename": "cake.png",
    "format": "ndjson",
    "group_id": "0" * 24,
    "is_default": True,
    "languages": ["fr"],
    "limit": 3,
    "max_attempts": 3,
    "message": {"text": "Bye"},
    "name": "another",
    "number": BEN,
    "on_invalid": "skip",
    "on_uncertain": "resend",
    "organisation": "Acme",
    "overlap": 77,
    "page": 2,
    "page_size": 3,
    "paused": True,
    "personalise": True,
    "phones": [BEN],
    "prices": {"currency": "USD", "countries": {"NG": 0.05}},
    "rate": 7,
    "reach": "client",
    "recipient": BEN,
    "recipients": [ADA, BEN],
    "regions": ["DE"],
    "rule": {"tags": ["nobody"]},
    "sample": 1,
    "refresh": "true",
    "scope": "read",
    "send_at": "2998-01-01T00:00:00Z",
    "send_type": "group",
    "settings": {"latency": 1},
    "sort": "-createdAt",
    "start_words": ["again"],
    "status": "failed",
    "statuses": ["uncertain"],
    "syntax": "guide",
    "text": "Bye",
    "tags": ["new"],
    "title": "another",
    "to": BEN,
    "type": "all",
    "url": "https://1.0.0.1/other",
    "variables": {"name": "Ada"},
    "welcome": "Hello again.",
    "window": {"from": "00:00", "to": "24:00", "days": ["mon"], "zone": "Asia/Tokyo"},
    "words": ["enough"],
    **WRONG,
}
"""A value of each field that means something else than the field left out."""

NEWEST_FIRST = {"listAuditEntries", "listDeliveries", "listMessageLog", "listReplies"}
"""Lists that begin with the newest unless they are asked for the oldest."""

PASSING = (
    "_id",
    "message_id",
    "createdAt",
    "updatedAt",
    "completedAt",
    "expires_at",
    "expiresAt",
    "access_token",
    "prefix",
    "since",
    "received_at",
)
"""What differs between two outcomes of one request, where it was not asked for."""

ASKS_A_PROVIDER = {("listTemplates", "refresh")}
"""What changes only how soon a provider is asked."""

_numbers = itertools.count(1)


class Operation(NamedTuple):
    """An operation of the description, and where it takes which fields."""

    name: str
    method: str
    path: str
    fields: list[tuple[str, str]]


@pytest.fixture
def spec(acme: Tenant) -> Any:
    return acme.get("/openapi.json").json


def operations(spec: Any) -> Iterator[Operation]:
    for path, item in spec["paths"].items():
        for method, told in item.items():
            if method != "parameters" and not path.startswith(("/webhook", "/public")):
                fields = [*_parameters(spec, told), *_members(spec, told)]
                yield Operation(told["operationId"], method, path, fields)


def _parameters(spec: Any, told: Any) -> Iterator[tuple[str, str]]:
    for each in told.get("parameters", []):
        parameter = _resolved(spec, each)
        yield parameter["in"], parameter["name"]


def _members(spec: Any, told: Any) -> Iterator[tuple[str, str]]:
    for kind, content in told.get("requestBody", {}).get("content", {}).items():
        for name in _resolved(spec, content["schema"]).get("properties", {}):
            yield kind, name


def value_of(operation: Operation, field: str) -> Any:
    """Return a value that means something else than the field left out."""
    if field == "sort" and operation.name in NEWEST_FIRST:
        return "createdAt"
    return VALUES[field]


def _resolved(spec: Any, schema: Any) -> Any:
    while "$ref" in schema:
        for step in schema["$ref"].split("/")[1:]:
            spec = spec[step]
        schema = spec
    return schema


def prepared(acme: Tenant, operation: Operation) -> str:
    """Make what an operation needs and return its address."""
    number = next(_numbers)
    path = operation.path
    if "{broadcast_id}" in path:
        made = acme.make("/broadcast", **ORDER | {"to": [ADA, "12025550112"]})["_id"]
        if operation.name != "updateBroadcast":
            deliver(acme, made, DeliveryStatus.FAILED)
        if operation.name in {"resumeBroadcast", "updateBroadcast"}:
            acme.post(f"/broadcast/{made}/pause")
        path = path.replace("{broadcast_id}", made)
    for noun, make in MAKERS.items():
        if f"{{{noun}_id}}" in path:
            path = path.replace(f"{{{noun}_id}}", make(acme))
    rule = {"rule": {"tags": ["vip"]}} if operation.name == "listGroupContacts" else {}
    for noun, more in (("contact", {"phones": [ADA]}), ("group", rule), ("session", SANDBOX)):
        if f"{{{noun}_id}}" in path:
            made = acme.make(f"/{noun}", name=f"{noun} {number}", **more)["_id"]
            path = path.replace(f"{{{noun}_id}}", made)
    if operation.name == "listTemplates":
        with acme.crier.database.writing() as db:
            for name in ("a", "b"):
                notice = TemplateNotice(name, "en")
                approved.note(db, path.split("/")[2], notice, now=1)
    return with_opt_outs(acme, operation, path)


def with_opt_outs(acme: Tenant, operation: Operation, path: str) -> str:
    """Make the opt-outs that an operation needs and return its address."""
    if operation.name in {"listOptOuts", "listClientOptOuts"}:
        for recipient in (ADA, BEN):
            acme.make(path, recipient=recipient)
    if path.endswith("{recipient}"):
        path = path.replace("{recipient}", ADA)
        acme.make(path.rpartition("/")[0], recipient=ADA)
    if "{event_id}" in path or operation.name == "listCallbackEvents":
        told(acme)
        [event, *_] = acme.get(f"{path.partition('/event')[0]}/event").json["data"]
        path = path.replace("{event_id}", event["_id"])
    return path


def told(acme: Tenant) -> None:
    """Let callbacks be told of two things."""
    [session, *_] = acme.get("/session").json["data"]
    path = f"/session/{session['_id']}/opt-out"
    acme.make(path, recipient=BEN)
    acme.delete(f"{path}/{BEN}")


SANDBOX = {"channel": "sandbox"}


def a_delivery(acme: Tenant) -> str:
    made = acme.make("/broadcast", **ORDER)["_id"]
    deliver(acme, made, DeliveryStatus.FAILED)
    return ids.delivery(made, 0)


def an_attachment(acme: Tenant) -> str:
    return str(acme.make("/attachment", file=as_url(PNG))["_id"])


def a_callback(acme: Tenant) -> str:
    for made in acme.get("/callback").json["data"]:
        acme.delete(f"/callback/{made['_id']}")
    return str(acme.make("/callback", **CALLBACK)["_id"])


def a_token(acme: Tenant) -> str:
    return str(acme.make("/token", name="shop")["_id"])


MAKERS = {
    "delivery": a_delivery,
    "attachment": an_attachment,
    "callback": a_callback,
    "token": a_token,
}


def ask(acme: Tenant, operation: Operation, place: str, field: str, value: Any) -> TestResponse:
    """Send the least request of an operation with one field more; None: without it."""
    path = prepared(acme, operation)
    body = dict(BASES.get(operation.name, {}))
    if "name" in body:
        body["name"] = f"{body['name']} {next(_numbers)}"
    query: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {acme.token}"}
    if operation.name == "importContacts":
        document, file = LISTS[operation.name]
        body |= {} if value is None else {field: value}
        parts = {document: json.dumps(body), file: (io.BytesIO(PEOPLE), "people.csv")}
        return acme.post(path, data=parts, content_type="multipart/form-data")
    if place == "multipart/form-data":
        form = {"file": (io.BytesIO(PNG if value is None else PNG + b"more"), "a.png")}
        form |= {} if value is None or field == "file" else {field: value}
        return acme.post(path, data=form, content_type=place)
    if value is not None:
        {"query": query, "header": headers, "application/json": body}[place][field] = value
    more = {"json": body} if operation.method != "get" else {}
    return acme.ask(operation.method.upper(), path, query_string=query, headers=headers, **more)


def outcome(answer: TestResponse, field: str) -> Any:
    """Return an answer without what differs from one request to the next."""
    is_json = answer.mimetype == "application/json"
    said = json.loads(answer.text)["data"] if is_json else answer.data
    return answer.status_code, answer.headers.get("X-Pagination"), _settled(said, field)


def _settled(data: Any, field: str) -> Any:
    if not isinstance(data, dict):
        return data
    passing = {
        *PASSING,
        "broadcast_id",
        "history",
        "name",
        "title",
        "path",
        "url",
        "token",
        "vcard",
    } - {field}
    return {name: value for name, value in data.items() if name not in passing}


def test_a_value_is_known_for_every_field(spec: Any) -> None:
    named = {field for each in operations(spec) for _, field in each.fields}
    parts = {part for parts in LISTS.values() for part in parts}
    assert named - {"Idempotency-Key"} - parts == set(VALUES) - parts


def test_every_field_changes_the_outcome_or_is_refused(
    acme: Tenant, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "DEFAULT_SIZE", 1)  # so that few objects are several pages
    with acme.crier.database.writing() as db:
        clients.limit(db, "Acme", {Limit.SESSIONS: 1_000})
    session = acme.make("/session", name="main", channel="sandbox")["_id"]
    store = sandbox.Store.at(acme.crier.settings.sandbox_store)
    for number in range(2):
        text = sandbox.Prepared("text", "{}")
        message = sandbox.Message("", session, ADA, f"d{number}.0", text)
        store.keep(message, once=True, most=1_000_000)
        acme.make("/contact", name=f"Ada {number}", phones=[ADA], tags=["vip"])
        acme.make("/group", name=f"group {number}")
        acme.make("/sandbox/reply", recipient=ADA, text="Hello")
        made = acme.make("/broadcast", **ORDER)["_id"]
        deliver(acme, made, DeliveryStatus.SENT)
        acme.make("/attachment", file=as_url(PNG + bytes(number)))
    ignored = []
    for operation in operations(spec):
        least: dict[str, TestResponse] = {}
        for place, field in operation.fields:
            if field in ELSEWHERE or field in LISTS.get(operation.name, ()):
                continue
            if place not in least or operation.method != "get":  # which changes nothing
                least[place] = ask(acme, operation, place, field, None)
            given = ask(acme, operation, place, field, value_of(operation, field))
            is_same = outcome(least[place], field) == outcome(given, field)
            if is_same and (operation.name, field) not in ASKS_A_PROVIDER:
                ignored.append((operation.name, field))
    assert ignored == []


def test_an_idempotency_key_makes_one_broadcast_of_two_requests(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    for headers, count in (({}, 2), ({"Idempotency-Key": "one"}, 1)):
        made = [acme.post("/broadcast", json=ORDER, headers=headers) for _ in range(2)]
        assert len({answer.json["data"]["_id"] for answer in made}) == count
