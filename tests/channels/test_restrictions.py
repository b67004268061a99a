"""What WAHA tells of WhatsApp's restrictions, in whatever shape."""

from __future__ import annotations

from typing import Any

import pytest

from service.channels.content import Text
from service.channels.drivers.waha import restrictions
from service.channels.errors import BlockedError
from tests.channels.conftest import Opened
from tests.channels.conversing import converse, said

NOW = 1_780_000_000.0
TEN_MINUTES = "2026-05-28T20:36:40Z"
IN_TEN_MINUTES = (
    *(NOW + 600, (NOW + 600) * 1000, str(int(NOW + 600)), TEN_MINUTES),
    *("2026-05-28T20:36:40", "2026-05-28T21:36:40+01:00"),
)


@pytest.mark.parametrize("ends", IN_TEN_MINUTES)
@pytest.mark.parametrize("name", ["timeEnforcementEnds", "time_enforcement_ends", "until"])
def test_a_lock_lasts_until_its_date_however_that_is_written(ends: Any, name: str) -> None:
    lock = {"isActive": True, "enforcementType": "RESTRICT_ALL_COMPANIONS", name: ends}
    for each in (lock, {"reachoutTimelock": lock}):
        found = restrictions.timelock(each, NOW)
        assert found
        assert found.wait == 600.0
        assert "until 2026-05-28 20:36 UTC" in found.reason


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        7,
        [],
        {"reachoutTimelock": None},
        {"isActive": False},
        {"isActive": False, "timeEnforcementEnds": NOW + 600},
        {"isActive": True, "timeEnforcementEnds": NOW - 1},
        {"timeEnforcementEnds": NOW - 1},
        {"timeEnforcementEnds": None},
        {"statusCode": 404, "message": "Not found"},
    ],
)
def test_where_there_is_no_lock_none_is_found(said: Any) -> None:
    assert restrictions.timelock(said, NOW) is None
    assert restrictions.capping(said, NOW) is None
    assert restrictions.of_account(said, NOW) is None


@pytest.mark.parametrize("ends", [None, "soon", {}, -1, 0, float("inf"), "nan", 1e300])
def test_a_lock_without_a_readable_end_lasts_an_hour(ends: Any) -> None:
    found = restrictions.timelock({"isActive": True, "timeEnforcementEnds": ends}, NOW)
    assert found
    assert found.wait == 3_600.0


@pytest.mark.parametrize(
    ("status", "wait"),
    [("CAPPED", 600.0), ("NONE", None), ("FIRST_WARNING", None), (None, None)],
)
def test_a_cap_that_is_reached_lasts_until_the_cycle_ends(status: Any, wait: float | None) -> None:
    cap = {"cappingStatus": status, "totalQuota": 100, "usedQuota": 100, "cycleEnd": NOW + 600}
    for found in (
        restrictions.capping(cap, NOW),
        restrictions.of_account({"messageCapping": cap}, NOW),
    ):
        assert (found.wait if found else None) == wait


LOCK = {"isActive": True, "timeEnforcementEnds": "2100-01-01T00:00:00Z"}
CAP = {"cappingStatus": "CAPPED", "cycleEnd": "2100-01-01T00:00:00Z"}
TOLD: list[list[dict[str, Any]]] = [
    [{"status": "WORKING", "me": {"id": "1@c.us", "reachoutTimelock": LOCK}}],
    [{"status": "WORKING", "me": {"id": "1@c.us"}}, LOCK],
    [{"status": "WORKING", "me": None}, {"isActive": False}, CAP],
]


@pytest.mark.parametrize("told", TOLD)
def test_the_check_of_a_session_reads_its_restrictions(
    opened: Opened, told: list[dict[str, Any]]
) -> None:
    held = converse(opened("waha").check(), *(said(200, each) for each in told))
    assert isinstance(held.error, BlockedError)
    assert held.error.code == restrictions.CODE
    assert (held.error.wait or 0.0) > 86_400.0


@pytest.mark.parametrize(("lock", "wait"), [(LOCK, 86_400.0), (None, 3_600.0), (7, 3_600.0)])
def test_a_restriction_that_stops_a_message_is_asked_for_its_end(
    opened: Opened, lock: Any, wait: float
) -> None:
    driver = opened("waha")
    held = converse(
        driver.send("12025550110", driver.prepare(Text("Hello")), "64ac509d05a7cc2b8c000001.0"),
        None,
        said(500, {"exception": {"message": "server returned error 463"}}),
        said(200, {"status": "WORKING", "me": {"reachoutTimelock": lock}}),
    )
    assert isinstance(held.error, BlockedError)
    assert (held.error.wait or 0.0) >= wait
    assert (lock == LOCK) == (held.error.wait != 3_600.0)
    assert len(held.messages) == 1
