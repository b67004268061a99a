"""Deliveries as files, and what was deleted, over HTTP."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from service.core import exports
from service.models import DeliveryStatus
from tests.blueprints.test_broadcasts import NUMBERS, deliver, make
from tests.conftest import Tenant
from tests.test_spreadsheets import sheets

SENT, FAILED = DeliveryStatus.SENT, DeliveryStatus.FAILED


@pytest.fixture(autouse=True)
def session(acme: Tenant) -> str:
    return str(acme.make("/session", name="main", channel="sandbox")["_id"])


@pytest.fixture
def made(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a broadcast of which one is sent and two failed; pages of exports are short."""
    monkeypatch.setattr(exports, "PAGE", 2)
    broadcast_id = str(make(acme)["_id"])
    deliver(acme, broadcast_id, SENT, FAILED, FAILED)
    return broadcast_id


def rows(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_all_three_files_tell_what_the_list_tells(acme: Tenant, made: str, session: str) -> None:
    path = f"/broadcast/{made}/delivery"
    listed = acme.get(path).json["data"]
    answer = acme.get(f"{path}.ndjson")
    objects = [json.loads(line) for line in answer.text.splitlines()]
    assert {(each.pop("step"), each.pop("session_id")) for each in objects} == {(0, session)}
    assert objects == [{name: each[name] for name in objects[0]} for each in listed]
    assert answer.headers["Content-Disposition"] == f"attachment; filename=deliveries-{made}.ndjson"
    found = rows(acme.get(f"{path}.csv").text)
    assert [each["recipient"] for each in found] == NUMBERS
    assert found[0]["message_ids"] == "m-1 m-2"
    assert found[0]["sentAt"] == listed[0]["sentAt"]
    [sheet] = sheets(acme.get(f"{path}.xlsx").data)
    assert sheet[0] == list(found[0])
    assert [row[1] for row in sheet[1:]] == NUMBERS


def test_a_table_has_a_column_for_each_placeholder_so_that_failures_have_names(
    acme: Tenant,
) -> None:
    ada, ben = {"Name": "Ada", "status": "new"}, {"status": "old"}
    made = make(
        acme,
        to=[{"to": NUMBERS[0], "variables": ada}, {"to": NUMBERS[1], "variables": ben}],
        message={"text": "Hi {{Name|there}}, {{status}}, {{=now()|}}"},
    )
    deliver(acme, made["_id"], SENT, FAILED)
    path = f"/broadcast/{made['_id']}/delivery"
    found = rows(acme.get(f"{path}.csv").text)
    names = ("Name", "status", "variables.status", "'=now()")
    assert [[row[name] for name in names] for row in found] == [
        ["Ada", "sent", "new", ""],
        ["", "failed", "old", ""],
    ]
    [sheet] = sheets(acme.get(f"{path}.xlsx?status=failed").data)
    assert sheet[0][-3:] == ["Name", "variables.status", "=now()"]
    objects = [json.loads(line) for line in acme.get(f"{path}.ndjson").text.splitlines()]
    assert [each["variables"] for each in objects] == [ada, ben]


def test_a_file_is_filtered_as_the_list_is(acme: Tenant, made: str) -> None:
    for query, people in (
        ("status=failed", NUMBERS[1:]),
        ("recipient=%2B234 904 898 8056", NUMBERS[1:2]),
        ("code=code", NUMBERS[1:]),
        ("code=", []),
        ("status=queued", []),
    ):
        path = f"/broadcast/{made}/delivery"
        assert [each["recipient"] for each in rows(acme.get(f"{path}.csv?{query}").text)] == people
        listed = acme.get(f"{path}?{query}").json["data"]
        assert [each["recipient"] for each in listed] == people
    assert acme.get(f"/broadcast/{made}/delivery.csv?status=x").status_code == 422


def test_no_connection_is_held_while_a_file_is_read(acme: Tenant, made: str) -> None:
    headers = {"Authorization": f"Bearer {acme.token}"}
    http = acme._http  # noqa: SLF001 - what `acme` does not do: read an answer bit by bit
    answer = http.get(f"/broadcast/{made}/delivery.csv", headers=headers)
    pieces = answer.iter_encoded()
    assert next(pieces).startswith(b"_id,recipient")
    while next(pieces, b""):
        assert acme.crier.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_what_was_deleted_can_be_read_by_who_asks_for_it(acme: Tenant, made: str) -> None:
    kept = make(acme)["_id"]
    delivery = acme.get(f"/broadcast/{made}/delivery").json["data"][0]["_id"]
    acme.delete(f"/broadcast/{made}")
    for path in (
        f"/broadcast/{made}",
        f"/broadcast/{made}/report",
        f"/broadcast/{made}/delivery",
        f"/broadcast/{made}/delivery.csv",
        f"/delivery/{delivery}",
    ):
        assert acme.get(path).status_code == 404, path
        assert acme.get(f"{path}?deleted=true").status_code == 200, path
    shown = acme.get(f"/broadcast/{made}?deleted=true").json["data"]
    assert shown["deletedAt"] == shown["updatedAt"]
    assert acme.get(f"/broadcast/{kept}").json["data"]["deletedAt"] is None
    assert acme.get(f"/broadcast/{kept}?deleted=true").status_code == 404
    for query, ids in (("", [kept]), ("?deleted=true", [made]), ("?deleted=false", [kept])):
        listed = acme.get(f"/broadcast{query}").json["data"]
        assert [each["_id"] for each in listed] == ids
    for path in ("/delivery", f"/delivery?recipient={NUMBERS[0]}"):
        mark = "&" if "?" in path else "?"
        assert acme.get(path).json["data"] == []
        assert acme.get(f"{path}{mark}deleted=true").json["data"]
    assert acme.post(f"/broadcast/{made}/retry").status_code == 404
