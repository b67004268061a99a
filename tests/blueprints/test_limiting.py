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
