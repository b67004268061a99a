"""Pages of other origins, by the headers that browsers go by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.app import Application
from service.config import SettingError, Settings
from tests.conftest import Tenant, on_sqlite

APP = "https://app.example"
Make = Callable[..., Application]


def access(answer: Any) -> dict[str, str]:
    return {
        name.lower(): value for name, value in answer.headers if name.lower().startswith("access-")
    }


def preflight(tenant: Tenant, path: str, origin: str = APP) -> Any:
    headers = {
        "Authorization": "",
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,x-refresh",
    }
    return tenant.ask("OPTIONS", path, headers=headers)


@pytest.fixture
def acme(make_app: Make) -> Tenant:
    return Tenant(make_app(cors_origins=f"{APP}, http://localhost:5173"), "Acme")


@on_sqlite
def test_no_origin_is_allowed_unless_the_operator_names_it(make_app: Make) -> None:
    acme = Tenant(make_app(), "Acme")
    for answer in (
        acme.get("/contact", headers={"Origin": APP}),
        preflight(acme, f"/contact/{'0' * 24}"),
    ):
        assert access(answer) == {}
        assert "Origin" not in answer.headers.get("Vary", "")


@on_sqlite
def test_a_page_of_an_allowed_origin_may_read_answers_and_errors(acme: Tenant) -> None:
    headers = {"Origin": APP}
    for path, status in (("/contact", 200), ("/contact?page=2", 422), ("/nowhere", 404)):
        answer = acme.get(path, headers=headers)
        assert answer.status_code == status
        assert access(answer)["access-control-allow-origin"] == APP
        assert "X-Pagination" in access(answer)["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in access(answer)
        assert "Origin" in answer.headers["Vary"]
    unauthorised = acme.get("/contact", headers={**headers, "Authorization": ""})
    assert unauthorised.status_code == 401
    assert access(unauthorised)["access-control-allow-origin"] == APP


@on_sqlite
def test_a_preflight_is_answered_without_a_token(acme: Tenant) -> None:
    for prefix in ("", "/api/v1"):
        answer = preflight(acme, f"{prefix}/contact/{'0' * 24}")
        assert answer.status_code == 200
        allowed = access(answer)
        assert "PUT" in allowed["access-control-allow-methods"]
        accepted = allowed["access-control-allow-headers"].lower()
        for header in ("authorization", "content-type", "idempotency-key", "x-refresh"):
            assert header in accepted
        assert allowed["access-control-max-age"]


@on_sqlite
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://xapp.example",
        "null",
        "",
    ],
)
def test_every_other_origin_is_told_nothing(acme: Tenant, origin: str) -> None:
    for answer in (
        acme.get("/contact", headers={"Origin": origin}),
        preflight(acme, "/contact", origin),
    ):
        assert access(answer) == {}
        assert "Origin" in answer.headers["Vary"]


@on_sqlite
def test_a_star_allows_all_but_never_the_metrics(make_app: Make) -> None:
    acme = Tenant(make_app(cors_origins="*"), "Acme")
    answer = acme.get("/contact", headers={"Origin": "https://any.example"})
    assert access(answer)["access-control-allow-origin"] == "*"
    assert access(acme.get("/metrics", headers={"Origin": "https://any.example"})) == {}


@pytest.mark.parametrize(
    "wrong", ["app.example", "https://app.example/", "https://App.example", "https://*.example"]
)
def test_what_is_no_origin_is_refused_when_the_service_starts(wrong: str) -> None:
    with pytest.raises(SettingError, match="CORS_ORIGINS"):
        Settings(cors_origins=wrong)
