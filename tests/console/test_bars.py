"""Bars: the parts of a broadcast, drawn and told."""

from __future__ import annotations

import pytest

from service.app import Application
from service.console import bars, formats
from tests.conftest import on_sqlite

pytestmark = on_sqlite

COUNTS = {
    "total": 1_000_000,
    "pending": 600_001,
    "sent": 300_000,
    "delivered": 99_998,
    "read": 0,
    "failed": 1,
    "cancelled": 0,
    "uncertain": 1,
}


def test_each_state_is_seen_and_all_fill_the_bar(app: Application) -> None:
    with app.test_request_context("/console/"):
        parts = bars.parts(COUNTS, is_held=False)
        held = bars.parts(COUNTS, is_held=True)
    states = ["delivered", "sent", "pending", "uncertain", "failed"]
    assert [part.state for part in parts] == states
    assert [part.state for part in held] == [state.replace("pending", "held") for state in states]
    assert sum(part.people for part in parts) == COUNTS["total"]
    assert sum(part.width for part in parts) == pytest.approx(1_000, abs=0.1)
    assert min(part.width for part in parts) > 7, "one person in a million is seen"


def test_what_is_not_all_is_never_told_as_all(app: Application) -> None:
    headers = {"Accept-Language": "en-GB"}
    with app.test_request_context("/console/", headers=headers):
        shares = [formats.percent(part, 1_000) for part in (0, 1, 500, 999, 1_000)]
        assert formats.percent(0, 0) == "0%"
        assert formats.phone("12025550110") == "+1 202-555-0110"
        assert formats.phone("1-2@g.us") == "1-2@g.us"
    assert shares == ["0%", "<\u202f1%", "50%", ">\u202f99%", "100%"]
