"""Broadcasts to files, to national numbers, and past what is not valid."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from service.app import Application
from service.core import lost_zeros
from service.core.deliveries import chunks
from service.database import now_ms
from tests.conftest import Tenant
from tests.spreadsheets import ods, xlsx

ADA, BEN, CARL = "2348179803743", "2349048988056", "2348179803744"
ORDER: dict[str, Any] = {"send_type": "individual", "message": {"text": "Hello {{Name|you}}"}}
LIST = f"Name;Phone;Town\nAda;+{ADA};Lagos\nBen;0{BEN[3:]};Kano\nAda;+{ADA};Lagos\n"


@pytest.fixture(autouse=True)
def session(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")


def send(acme: Tenant, content: str | bytes, path: str = "/broadcast", **order: Any) -> Any:
    raw = content.encode() if isinstance(content, str) else content
    form = {
        "broadcast": json.dumps(ORDER | order),
        "recipients": (io.BytesIO(raw), "people.csv", "text/csv"),
    }
    return acme.post(path, data=form, content_type="multipart/form-data").json


def deliveries(acme: Tenant, broadcast: Any) -> list[Any]:
    with acme.crier.database.writing() as db:
        chunks.fan_out(db, broadcast["_id"], now=now_ms())
    listed: Any = acme.get(f"/broadcast/{broadcast['_id']}/delivery").json
    return list(listed["data"])


def test_the_people_of_a_file_get_the_message_each_with_the_values_of_its_row(
    acme: Tenant,
) -> None:
    made = send(acme, LIST, default_region="ng")["data"]
    assert made["counts"]["total"] == 2
    assert made["countries"] == {"NG": 2}
    assert made["default_region"] == "NG"
    assert made["to"][0] == {"to": f"+{ADA}", "variables": {"Name": "Ada"}}
    found = [(each["recipient"], each["variables"]) for each in deliveries(acme, made)]
    assert found == [(ADA, {"Name": "Ada"}), (BEN, {"Name": "Ben"})]


@pytest.mark.parametrize("kind", ["xlsx", "ndjson", "ods"])
def test_a_file_of_another_kind_is_the_same_list(acme: Tenant, kind: str) -> None:
    rows = [("Name", "Phone"), ("Ada", f"+{ADA}"), ("Ben", BEN)]
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    line = "<table:table-row>{}</table:table-row>"
    files: dict[str, str | bytes] = {
        "xlsx": xlsx(*rows),
        "ndjson": "".join(f'{{"Name": "{name}", "Phone": "{to}"}}\n' for name, to in rows[1:]),
        "ods": ods("".join(line.format("".join(map(cell.format, row))) for row in rows)),
    }
    made = send(acme, files[kind])["data"]
    assert [each["recipient"] for each in deliveries(acme, made)] == [ADA, BEN]


def test_what_is_wrong_in_a_file_is_told_by_row_and_column_and_nothing_is_stored(
    acme: Tenant,
) -> None:
    text = f"Name;Phone;Mobile\nAda;2,34818E+12;{ADA}\nBen;;{BEN}\nCarl;2025-01-27;{CARL}\n"
    errors = send(acme, text, columns={"to": "Phone"})["errors"]
    [shortened] = errors["recipients.2"]
    assert shortened.startswith("Row 2, column B (Phone): '2,34818E+12' was shortened by a")
    assert errors["recipients.3"] == ["Row 3, column B (Phone): '' is empty."]
    assert "was made a date" in errors["recipients.4"][0]
    [asked] = send(acme, text.replace("2,34818E+12", ADA))["errors"]["recipients"]
    assert "may both be the numbers" in asked
    [both] = send(acme, LIST, to=ADA)["errors"]["to"]
    assert both == "Send either `to` or a file of recipients."
    [group] = send(acme, LIST, send_type="group")["errors"]["send_type"]
    assert "A file has numbers" in group
    unnamed = f"Name;Phone\n;{ADA}\nBen;{BEN}\n"
    assert list(send(acme, unnamed, message={"text": "{{Name}}"})["errors"]) == ["recipients.2"]
    assert list(send(acme, unnamed, message={"text": "{{Plan}}"})["errors"]) == ["message.text"]
    assert acme.get("/broadcast").json["data"] == []


def test_a_form_may_say_each_field_by_itself_and_name_no_other_file(acme: Tenant) -> None:
    fields = {"send_type": "individual", "message[text]": "Hello", "columns[to]": "B"}
    file = (io.BytesIO(f"{BEN},{ADA}\n".encode()), "people.csv")
    form = {**fields, "recipients": file}
    made: Any = acme.post("/broadcast", data=form, content_type="multipart/form-data").json
    assert made["data"]["to"] == [{"to": ADA, "variables": {}}]
    other = {**fields, "to": ADA, "photo": (io.BytesIO(b"x"), "a.png")}
    refused: Any = acme.post("/broadcast", data=other, content_type="multipart/form-data").json
    assert "Send the list of people as `recipients`" in refused["errors"]["photo"][0]
    inside = {
        "broadcast": (io.BytesIO(json.dumps(ORDER).encode()), "blob"),
        "recipients": (io.BytesIO(ADA.encode()), "a.csv"),
    }
    blob: Any = acme.post("/broadcast", data=inside, content_type="multipart/form-data").json
    assert blob["data"]["counts"]["total"] == 1


def test_a_file_needs_a_token_outside_of_it_and_has_a_limit(acme: Tenant) -> None:
    form = {"recipients": (io.BytesIO(LIST.encode()), "a.csv"), "access_token": acme.token}
    headers = {"Authorization": ""}
    sent = acme.post("/broadcast", data=form, content_type="multipart/form-data", headers=headers)
    assert sent.status_code == 422
    assert list(acme.crier.settings.attachments_dir.glob("incoming/*")) == []


def test_the_same_file_under_one_key_is_one_broadcast_and_another_one_is_told(
    acme: Tenant,
) -> None:
    def ask(text: str) -> Any:
        form = {"broadcast": json.dumps(ORDER), "recipients": (io.BytesIO(text.encode()), "a.csv")}
        headers = {"Idempotency-Key": "one"}
        kind = "multipart/form-data"
        return acme.post("/broadcast", data=form, content_type=kind, headers=headers).json

    first = ask(f"Phone\n{ADA}\n")["data"]["_id"]
    assert ask(f"Phone\n{ADA}\n")["data"]["_id"] == first
    assert "recipients" in ask(f"Phone\n{BEN}\n")["errors"]


def test_invalid_entries_may_be_skipped_and_are_in_every_report(acme: Tenant) -> None:
    to = f"+{ADA},12,,{ADA},+1 202 555 0110,x"
    order = ORDER | {"to": to, "regions": ["NG"]}
    refused: Any = acme.post("/broadcast", json=order).json
    assert list(refused["errors"]) == ["to.1", "to.2", "to.4", "to.5"]
    assert "is a number of US" in refused["errors"]["to.4"][0]
    made = acme.make("/broadcast", **order, on_invalid="skip")
    assert (made["counts"]["total"], made["counts"]["failed"]) == (5, 4)
    assert (made["countries"], made["on_invalid"], made["regions"]) == ({"NG": 1}, "skip", ["NG"])
    found = deliveries(acme, made)
    assert [(each["recipient"], each["status"], each["code"]) for each in found] == [
        (ADA, "queued", None),
        ("12", "failed", "invalid"),
        ("(2)", "failed", "invalid"),
        ("+1 202 555 0110", "failed", "invalid"),
        ("x", "failed", "invalid"),
    ]
    assert found[1]["reason"] == "'12' is too short for a number of country code 1."
    path = f"/broadcast/{made['_id']}"
    assert acme.post(f"{path}/retry").status_code == 409
    assert acme.post(f"{path}/pause").status_code == 200
    edited: Any = acme.put(path, json={"message": {"text": "Bye"}}).json
    assert (edited["data"]["counts"]["total"], edited["data"]["counts"]["failed"]) == (5, 4)
    nobody = acme.post("/broadcast", json=order | {"to": "12,13", "on_invalid": "skip"})
    assert nobody.status_code == 422


def test_the_operator_sets_how_a_clients_numbers_are_meant(acme: Tenant, app: Application) -> None:
    runner = app.test_cli_runner()
    said = runner.invoke(args=["client", "numbers", "Acme", "--default-region", "ng"])
    assert "NG" in said.output
    assert acme.make("/broadcast", **ORDER, to=f"0{ADA[3:]}")["to"] == f"0{ADA[3:]}"
    wrong = runner.invoke(args=["client", "numbers", "Acme", "--region", "XX"])
    assert wrong.exit_code != 0


def test_numbers_that_seem_to_have_lost_their_zeros_need_a_word(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_zeros, "suspect", lambda written: ["DE"] if [*written][2:] else [])
    order = ORDER | {"to": "12025550110,12025550111,12025550112"}
    asked: Any = acme.post("/broadcast", json=order).json
    [reason] = asked["errors"]["confirm_countries"]
    assert 'Set "default_region" to "DE", or "confirm_countries" to true' in reason
    assert send(acme, "Phone\n" + "\n".join(order["to"].split(",")))["status"] is False
    assert acme.make("/broadcast", **order, confirm_countries=True)["countries"] == {"US": 3}
    assert acme.make("/broadcast", **order | {"to": "12025550110"})["countries"] == {"US": 1}


def test_a_dry_run_takes_files_too(acme: Tenant) -> None:
    tried = send(acme, LIST + "Eve;12;\n", "/broadcast?dry_run=true", default_region="NG")["data"]
    assert (tried["recipients"], tried["duplicates"]) == (2, 1)
    assert tried["countries"] == {"NG": 2}
    [invalid] = tried["invalid"]
    assert invalid["position"] == 5
    assert "Row 5, column B (Phone)" in invalid["reason"]
    assert tried["messages"][1]["parts"][0]["text"] == "Hello Ben"
