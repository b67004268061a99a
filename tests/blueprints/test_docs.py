"""The published description."""

from __future__ import annotations

import re
from typing import Any

import pytest

from service.app import Application
from tests.conftest import Tenant


@pytest.fixture
def spec(app: Application) -> dict[str, Any]:
    described: dict[str, Any] = app.test_client().get("/openapi.json").json  # type: ignore[assignment]
    return described


def operations(spec: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    ]


def test_it_is_openapi_3_1(spec: dict[str, Any]) -> None:
    assert spec["openapi"] == "3.1.0"


def test_reads_have_no_body_and_whatever_writes_has(spec: dict[str, Any]) -> None:
    for path, method, operation in operations(spec):
        assert ("requestBody" in operation) is (method != "get"), (path, method)


def test_every_guarded_operation_tells_how_it_can_fail(spec: dict[str, Any]) -> None:
    guarded = [each for each in operations(spec) if "security" in each[2]]
    assert len(guarded) > 25
    for path, method, operation in guarded:
        told = {"400", "401", "403", "404", "413", "415", "422", "503"}
        assert told <= set(operation["responses"]), (path, method)
        assert operation["summary"].endswith(".")


def test_pagination_is_described_as_the_text_it_is(spec: dict[str, Any]) -> None:
    headers = spec["paths"]["/broadcast"]["get"]["responses"]["200"]["headers"]
    assert headers["X-Pagination"]["schema"] == {"type": "string"}


def test_every_reference_leads_somewhere(spec: dict[str, Any]) -> None:
    for kind, name in re.findall(r"'#/components/(\w+)/(\w+)'", str(spec)):
        assert name in spec["components"][kind]


def test_patterns_are_those_of_json_schema(spec: dict[str, Any]) -> None:
    patterns = re.findall(r"'pattern': ['\"]([^'\"]+)['\"]", str(spec))
    assert patterns
    assert all(pattern.startswith("^") and pattern.endswith("$") for pattern in patterns)


def test_the_examples_of_creating_work_as_they_stand(spec: dict[str, Any], acme: Tenant) -> None:
    for path in ("/session", "/contact", "/group", "/broadcast"):
        body = spec["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert acme.post(path, json=body["example"]).status_code == 201, path


def test_the_page_needs_nothing_from_elsewhere(app: Application) -> None:
    client = app.test_client()
    page = client.get("/docs", buffered=True)
    assert page.status_code == 200
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 5
    for link in links:
        assert client.get(f"/{link}", buffered=True).status_code == 200, link
