"""The description is true: what it allows and forbids is sent, and every answer is in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, BaseSchema, Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service import ids
from service.app import Application, create_app
from service.config import Settings
from service.core.deliveries import chunks
from service.database import now_ms
from tests.blueprints.test_guide import upload
from tests.conftest import Tenant, fresh
from tests.examples import made_up

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MADE = {
    *("attachment_id", "broadcast_id", "callback_id", "contact_id", "delivery_id", "event_id"),
    *("group_id", "session_id"),
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    basic = Settings(
        data_dir=tmp_path_factory.mktemp("described"),
        dispatch="off",
        log_level="ERROR",
        limit_sessions=10_000,
        limit_burst=100_000,
    )
    with fresh(basic, request) as settings_:
        app = create_app(settings_)
        yield app
        app.extensions["crier"].database.dispose()


@pytest.fixture(scope="module")
def tenant(served: Application) -> Tenant:
    return Tenant(served, "Acme")


@pytest.fixture(scope="module")
def described(served: Application, tenant: Tenant) -> BaseSchema:
    assert tenant.make("/session", name="main", channel="sandbox")
    schema = schemathesis.openapi.from_wsgi("/openapi.json", served)
    # Whether tokens are looked at is tested elsewhere.
    schema.config.generation.update(with_security_parameters=False)
    return schema


def real(tenant: Tenant, name: str) -> str:
    """Make what a path parameter names, and return its id."""
    number = next(_numbers)
    phones = [f"234817{number:07d}"]
    if name == "recipient":
        return phones[0]
    if name == "attachment_id":
        return str(upload(tenant)["_id"])
    if name == "broadcast_id":
        message = {"text": "Hello"}
        asked = {"send_type": "individual", "to": phones, "message": message}
        return str(tenant.make("/broadcast", **asked)["_id"])
    if name == "delivery_id":
        broadcast_id = real(tenant, "broadcast_id")
        with tenant.crier.database.writing() as db:
            chunks.fan_out(db, broadcast_id, now=now_ms())
        return ids.delivery(broadcast_id, 0)
    if name == "contact_id":
        return str(tenant.make("/contact", name="Ada", phones=phones)["_id"])
    noun = name.removesuffix("_id")
    more = {"channel": "sandbox"} if noun == "session" else {}
    return str(tenant.make(f"/{noun}", name=f"{noun} {number}", **more)["_id"])


def reals(tenant: Tenant, case: Case[Any]) -> dict[str, str]:
    return {name: real(tenant, name) for name in case.path_parameters}


def told(tenant: Tenant) -> dict[str, str]:
    """Return a callback and an event of it."""
    listed = tenant.get("/callback").json["data"]
    events = ["opt_out.changed"]
    callback = (listed or [tenant.make("/callback", url="https://1.1.1.1/", events=events)])[0]
    tenant.make(f"/session/{real(tenant, 'session_id')}/opt-out", recipient="12025550110")
    event, *_ = tenant.get(f"/callback/{callback['_id']}/event").json["data"] or [{"_id": "0" * 24}]
    return {"callback_id": callback["_id"], "event_id": event["_id"]}


def try_out(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, tenant: Tenant
) -> None:
    """Send many requests for one operation, once with made up ids and once with real ones."""
    headers = {"Authorization": f"Bearer {tenant.token}"}

    # Half on Postgres, where only statements differ.
    @made_up(2 if tenant.crier.database.is_sqlite else 1)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        # In a form all is text, so that some of what would be wrong there looks right.
        is_form = case.media_type == "multipart/form-data"
        refusals = [] if is_form else [negative_data_rejection]
        case.call_and_validate(headers=headers, checks=[*CHECKS, *refusals])
        if set(case.path_parameters) & MADE:
            is_callback = "callback_id" in case.path_parameters
            case.path_parameters = told(tenant) if is_callback else reals(tenant, case)
            case.call_and_validate(headers=headers, checks=CHECKS)

    # Some operations have nothing in which a request could be wrong.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        ask()


# What the description forbids is refused before a database has a part in it.
@pytest.mark.parametrize(
    ("served", "mode"),
    [
        ("sqlite", GenerationMode.POSITIVE),
        ("sqlite", GenerationMode.NEGATIVE),
        ("postgres", GenerationMode.POSITIVE),
    ],
    indirect=["served"],
)
def test_every_answer_is_in_the_description(
    described: BaseSchema, tenant: Tenant, mode: GenerationMode
) -> None:
    for result in described.get_all_operations():
        assert isinstance(result, Ok), result
        try_out(result.ok(), mode, tenant)
