"""Windows over HTTP: kept as given, and refused by field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Tenant, on_sqlite

WINDOW = {"from": "08:00", "to": "20:00", "days": ["mon", "fri"], "zone": "Africa/Lagos"}
ORDER = {"send_type": "individual", "to": "12025550110", "message": {"text": "Hello"}}


def test_a_window_is_shown_as_it_was_given(acme: Tenant) -> None:
    session = acme.make("/session", name="main", channel="sandbox", window=WINDOW)
    assert session["window"] == WINDOW
    path = f"/session/{session['_id']}"
    assert acme.put(path, json={"window": None}).json["data"]["window"] is None
    assert acme.make("/broadcast", **ORDER)["window"] is None
    daily = {name: WINDOW[name] for name in ("from", "to", "zone")}
    made = acme.make("/broadcast", **ORDER, window=daily, send_at="2998-01-01T00:00:00Z")
    assert made["window"] == daily
    path = f"/broadcast/{made['_id']}"
    assert acme.put(path, json={"window": WINDOW}).json["data"]["window"] == WINDOW


def test_a_dry_run_begins_when_the_window_opens(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox", rate=1)
    order = {**ORDER, "send_at": "2998-01-01T00:00:00Z", "window": WINDOW}
    preview = acme.post("/broadcast?dry_run=true", json=order).json["data"]
    assert preview["begins_at"] == "2998-01-01T07:00:00.000Z"
    assert preview["estimate"]["ends_at"] == "2998-01-01T07:00:01.000Z"
    assert preview["expires_at"] == "2998-01-04T07:00:00.000Z"


@on_sqlite
@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"zone": "Recipient"}, "zone", "or recipient for the zone of each recipient."),
        ({"zone": "../etc/passwd"}, "zone", "Must be an IANA time zone"),
        ({"zone": "+01:00"}, "zone", "Must be an IANA time zone"),
        ({"from": "24:00"}, "from", "Must be a time such as 08:00."),
        ({"to": "8:00"}, "to", "Must be a time such as 20:00, at most 24:00."),
        ({"to": "08:00"}, "to", "Must differ from `from`."),
        ({"days": []}, "days", "1"),
        ({"days": ["monday"]}, "days.0", "Must be one of"),
    ],
)
def test_a_window_that_is_none_is_refused(
    acme: Tenant, wrong: dict[str, Any], field: str, reason: str
) -> None:
    session = acme.make("/session", name="main", channel="sandbox")
    for answer in (
        acme.post("/broadcast", json={**ORDER, "window": WINDOW | wrong}),
        acme.put(f"/session/{session['_id']}", json={"window": WINDOW | wrong}),
    ):
        assert answer.status_code == 422
        [[said]] = [answer.json["errors"][f"window.{field}"]]
        assert reason in said
