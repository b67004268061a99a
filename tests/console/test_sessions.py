"""Sessions, as somebody without scripts makes one."""

from __future__ import annotations

import re

import pytest

from service.console.sessions import TITLES
from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

pytestmark = on_sqlite


def test_every_channel_has_a_name_and_is_explained(acme: Tenant) -> None:
    assert TITLES.keys() == set(acme.crier.accounts.channels.names())
    page = ConsoleUser(acme).get("/sessions/new").text
    explained = re.findall(r'channel=(\w+)">.*?<b>[^<]+</b><span class="muted small">[^<]+', page)
    assert set(explained) == TITLES.keys()


def prices_of(acme: Tenant, session_id: str) -> object:
    return acme.get(f"/session/{session_id}").json["data"]["prices"]


def test_prices_are_a_line_for_each_country(acme: Tenant) -> None:
    user = ConsoleUser(acme)
    fields = {"name": "Shop", "channel": "sandbox", "prices.currency": "eur"}
    lines = "ng 0,0516\nGB: 0.0382\r\n\n * 0.1 "
    made = user.post("/sessions/new", **fields, **{"prices.countries": lines})
    session_id = made.location.rsplit("/", 1)[-1]
    countries = {"NG": 0.0516, "GB": 0.0382, "*": 0.1}
    assert prices_of(acme, session_id) == {"currency": "EUR", "countries": countries}
    assert "EUR: NG 0.0516, GB 0.0382, * 0.1" in user.get(f"/sessions/{session_id}").text
    assert "NG 0.0516\nGB 0.0382\n* 0.1" in user.get(f"/sessions/{session_id}/edit").text
    user.post(f"/sessions/{session_id}/edit", name="Shop", channel="sandbox")
    assert prices_of(acme, session_id) is None


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("Nigeria", "“Nigeria” is not a country and a price"),
        ("NG much", "“NG much” is not a country and a price"),
        ("XX 1", "Must be a country such as NG"),
        ("NG -1", "Must be greater than or equal to 0"),
        ("NG nan", "not permitted"),
    ],
)
def test_a_wrong_price_is_told_beside_its_field(acme: Tenant, lines: str, reason: str) -> None:
    fields = {"name": "Shop", "channel": "sandbox", "prices.currency": "EUR"}
    refused = ConsoleUser(acme).post("/sessions/new", **fields, **{"prices.countries": lines})
    assert refused.status_code == 422
    assert reason in refused.text
    assert f">{lines}</textarea>" in refused.text
