"""How many requests a client may make."""

from __future__ import annotations

import pytest

from service.core.allowances import Allowance
from tests.conftest import Tenant, on_sqlite


@on_sqlite
def test_a_request_that_finds_no_place_is_counted_as_any_other(
    acme: Tenant, globex: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []

    def take(key: str, _rate: object) -> Allowance:
        counted.append(key)
        return Allowance(is_granted=True, left=7, wait=0)

    monkeypatch.setattr(acme.crier.requests, "take", take)
    places, whose = acme.crier.places, f"api {acme.id}"
    places.limit_to(4)
    assert globex.get("/session").status_code == 200
    while places.enter(whose):
        pass
    refused = acme.get("/session")
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit"] == '"requests";r=7'
    assert counted == [f"api {globex.id}", whose]


@on_sqlite
def test_strangers_leave_threads_to_those_with_a_token_and_to_those_who_watch(acme: Tenant) -> None:
    places, nobody = acme.crier.places, {"Authorization": ""}
    places.limit_to(4)
    while places.enter_unknown("stranger"):
        pass
    for method, path in [
        ("GET", "/openapi.json"),
        ("GET", "/console/sign-in"),
        ("POST", "/contact"),
    ]:
        refused = acme.ask(method, path, headers=nobody)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1"), path
    assert acme.get("/healthz", headers=nobody).status_code == 200
    assert acme.post(f"/webhook/{'0' * 24}", headers=nobody, json={}).status_code == 404
    assert acme.get("/session").status_code == 200
    assert acme.post(f"/webhook/{'0' * 24}", headers=nobody).status_code == 404
    places.leave("stranger")
    for _ in range(2):
        assert acme.get("/openapi.json", headers=nobody).status_code == 200
        assert acme.post("/contact", headers=nobody).status_code == 401
