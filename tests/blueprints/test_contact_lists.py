"""Contacts out of files and into them, and groups that a rule fills."""

from __future__ import annotations

import csv
import io
import itertools
from typing import Any

import pytest

from service.core import contact_exports, imports
from tests.conftest import Tenant, on_postgres
from tests.spreadsheets import xlsx

ADA, BEN, CARL = "2348179803743", "2349048988056", "2348179803744"
LIST = (
    f"Phone;First name;Surname;E-mail;City;Tags\n+{ADA};Ada;Obi;ada@example.com;Lagos;vip, new\n"
    f"08;Eve;;;;\n0{BEN[3:]};Ben;Eke;;Ibadan;\n"
)


def import_(acme: Tenant, content: str | bytes, **options: Any) -> Any:
    raw = content.encode() if isinstance(content, str) else content
    form = {"contacts": (io.BytesIO(raw), "people.csv"), **options}
    answer = acme.post("/contact/import", data=form, content_type="multipart/form-data")
    return answer.json if answer.status_code != 200 else answer.json["data"]


def contacts(acme: Tenant) -> dict[str, Any]:
    listed: Any = acme.get("/contact").json
    return {each["number"]: each for each in listed["data"]}


def test_a_list_becomes_contacts_and_is_found_again_by_number(acme: Tenant) -> None:
    options = {"import": '{"default_region": "ng", "tags": ["spring"]}'}
    made = import_(acme, LIST, **options)
    assert {name: made[name] for name in ("new", "changed", "unchanged", "duplicates")} == {
        "new": 2,
        "changed": 0,
        "unchanged": 0,
        "duplicates": 0,
    }
    assert made["refused_count"] == 1
    [refused] = made["refused"]
    assert (refused["row"], refused["place"]) == (3, "Row 3, column A (Phone)")
    assert refused["reason"] == "'08' is not a number in use in NG, nor an international one."
    ada = contacts(acme)[ADA]
    assert (ada["name"], ada["emails"]) == ("Ada Obi", ["ada@example.com"])
    assert ada["fields"] == {"First name": "Ada", "Surname": "Obi", "City": "Lagos"}
    assert ada["tags"] == ["spring", "vip", "new"]

    again = import_(acme, LIST, **options)
    assert (again["new"], again["changed"], again["unchanged"]) == (0, 0, 2)
    more = f"to,City,Plan\n{ADA},,gold\n{CARL},Kano,\n{CARL},,silver\n"
    grown = import_(acme, more, **{"tags[]": "autumn"})
    assert (grown["new"], grown["changed"], grown["duplicates"]) == (1, 1, 1)
    found = contacts(acme)
    assert found[ADA]["fields"] == ada["fields"] | {"Plan": "gold"}
    assert found[ADA]["tags"] == ["spring", "vip", "new", "autumn"]
    assert found[CARL]["name"] == CARL
    assert found[CARL]["fields"] == {"City": "Kano", "Plan": "silver"}
    assert found[ADA]["__v"] == 1


@on_postgres
def test_an_import_goes_on_though_a_contact_changes_at_the_same_time(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite others wait until a piece is written."""
    import_(acme, LIST)
    ada = contacts(acme)[ADA]["_id"]
    edits = iter([{"organisation": "Acme"}, {"emails": ["ada@example.org"]}])
    known = imports._known  # noqa: SLF001 - the moment between reading and writing

    def edit(*values: Any) -> Any:
        found = known(*values)
        for change in itertools.islice(edits, 1):
            assert acme.put(f"/contact/{ada}", json=change).status_code == 200
        return found

    monkeypatch.setattr(imports, "_known", edit)
    counts = import_(acme, f"to,Plan\n{ADA},gold\n{CARL},silver\n")
    assert (counts["new"], counts["changed"], counts["unchanged"]) == (1, 1, 0)
    found = contacts(acme)[ADA]
    assert (found["organisation"], found["emails"]) == ("Acme", ["ada@example.org"])
    assert found["fields"]["Plan"] == "gold"


def test_a_list_that_cannot_be_read_stores_nothing(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    [reason] = import_(acme, "Name\nAda\n")["errors"]["contacts"]
    assert "No column looks like telephone numbers" in reason
    errors = import_(acme, "Phone\n12\n")["errors"]
    assert errors["contacts"] == ["No row has a number that is right."]
    assert errors["contacts.2"][0].startswith("Row 2, column A (Phone): '12' is too short")
    missing: Any = acme.post("/contact/import", json={}).json
    assert "Send the file as a part of this name" in missing["errors"]["contacts"][0]
    monkeypatch.setattr(imports, "MOST", 1)
    assert import_(acme, LIST)["errors"] == {
        "contacts": ["Has more than 1 rows: import it in parts."]
    }
    two = acme.post(
        "/contact/import",
        data={"people": (io.BytesIO(b"x"), "x.csv")},
        content_type="multipart/form-data",
    )
    assert "Send the list of people as `contacts`" in two.json["errors"]["people"][0]
    assert contacts(acme) == {}


def test_an_import_is_written_in_pieces(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "WRITTEN_TOGETHER", 2)
    people = [str(12025550100 + at) for at in range(5)]
    rows = [["Phone", "Name"], *([number, f"N{at}"] for at, number in enumerate(people))]
    assert import_(acme, xlsx(*rows))["new"] == 5
    assert list(contacts(acme)) == people


@pytest.mark.parametrize("kind", ["csv", "ndjson", "xlsx"])
def test_an_export_is_safe_in_a_spreadsheet_and_can_be_imported_again(
    acme: Tenant, globex: Tenant, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_exports, "PAGE", 1)
    acme.make(
        "/contact",
        name="=HYPERLINK(1)",
        phones=[ADA, BEN],
        emails=["ada@example.com", "obi@example.com"],
        organisation="@Acme",
        tags=["vip"],
        fields={"city": "-Lagos", "code, x": "+1"},
    )
    acme.make("/contact", name="Carl", phones=[CARL])
    file = acme.get("/contact/export", query_string={"format": kind})
    assert kind in file.headers["Content-Disposition"]
    if kind == "csv":
        cells = [cell for line in csv.reader(io.StringIO(file.text)) for cell in line]
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert import_(globex, file.data)["new"] == 2
    shown = ("name", "phones", "emails", "organisation", "tags", "fields")
    assert [{name: each[name] for name in shown} for each in contacts(globex).values()] == [
        {name: each[name] for name in shown} for each in contacts(acme).values()
    ]
    monkeypatch.setattr(contact_exports, "MOST_FIELDS", 1)
    assert acme.get("/contact/export").status_code == (422)


def test_a_group_with_a_rule_has_whoever_matches_it(acme: Tenant, globex: Tenant) -> None:
    import_(acme, LIST, **{"import": '{"default_region": "NG"}'})
    import_(globex, LIST)
    rule = {"tags": ["vip"], "fields": {"City": "Lagos"}}
    tried: Any = acme.post("/group/preview", json={"rule": rule}).json
    assert (tried["data"]["size"], tried["data"]["contacts"][0]["number"]) == (1, ADA)
    group = acme.make("/group", name="vips", rule={"tags": ["vip"]})
    assert (group["size"], group["rule"]) == (1, {"tags": ["vip"]})
    acme.make("/contact", name="Carl", phones=[CARL], tags=["vip"])
    path = f"/group/{group['_id']}"
    inside: Any = acme.get(f"{path}/contact").json
    assert [each["number"] for each in inside["data"]] == [ADA, CARL]
    listed: Any = acme.get("/group").json
    assert [each["size"] for each in listed["data"]] == [2]

    acme.make("/session", name="main", channel="sandbox")
    order = {"send_type": "group", "to": group["_id"], "message": {"text": "Hello"}}
    assert acme.make("/broadcast", **order)["counts"]["total"] == 2

    whole: Any = acme.get(path).json
    assert acme.put(path, json=whole["data"]).json["data"]["size"] == 2
    by_hand: Any = acme.put(path, json={"contacts": [inside["data"][1]["_id"]]}).json
    assert (by_hand["data"]["rule"], by_hand["data"]["size"]) == (None, 1)
    back: Any = acme.put(path, json={"rule": {"fields": {"City": "Ibadan"}}}).json
    assert back["data"]["contacts"] == [contacts(acme)[BEN]["_id"]]


def test_a_rule_that_matches_nobody_is_refused_with_what_to_do(acme: Tenant) -> None:
    answer: Any = acme.post("/group", json={"name": "x", "rule": {"tags": ["v'i\"p"]}}).json
    assert "No contact of yours has the tag" in answer["errors"]["rule"][0]
    ada = acme.make("/contact", name="Ada", phones=[ADA], tags=["vip"])
    both = {"name": "x", "rule": {"tags": ["vip"]}, "contacts": [ada["_id"]]}
    assert "either" in acme.post("/group", json=both).json["errors"]["rule"][0]
    group = acme.make("/group", name="vips", rule={"tags": ["vip"]})
    moved: Any = acme.put(f"/contact/{ada['_id']}", json={"group_id": group["_id"]}).json
    assert "has a rule" in moved["errors"]["group_id"][0]
    acme.put(f"/contact/{ada['_id']}", json={"tags": []})
    acme.make("/session", name="main", channel="sandbox")
    order = {"send_type": "group", "to": group["_id"], "message": {"text": "Hello"}}
    nobody: Any = acme.post("/broadcast", json=order).json
    assert nobody["errors"] == {"to": ["Must name at least one recipient."]}
