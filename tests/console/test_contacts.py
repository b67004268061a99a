"""Contacts in the console: files, tags and fields, and groups by a rule."""

from __future__ import annotations

import io

from tests.conftest import Tenant, on_sqlite
from tests.console.visiting import ConsoleUser

pytestmark = on_sqlite

LIST = b"Name,Phone,Tags,City\nAda,+12025550110,vip,Lagos\nBo,+12025550111,vip,Accra\nCy,12,,\n"


def imported(visitor: ConsoleUser, content: bytes, **fields: str) -> tuple[int, str]:
    answer = visitor.post("/contacts/import", file=(io.BytesIO(content), "a.csv"), **fields)
    return answer.status_code, answer.text


def tiles(page: str) -> dict[str, str]:
    found = [part.split("</dd>")[0] for part in page.split("<dt>")[1:]]
    return dict(part.split("</dt><dd>") for part in found)


def test_an_import_tells_what_became_of_each_row_and_can_be_repeated(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    status, page = imported(visitor, LIST, tags="school")
    assert status == 200
    outcome = {"New": "2", "Changed": "0", "Unchanged": "0", "Merged duplicates": "0"}
    assert tiles(page) == {**outcome, "Refused": "1"}
    assert "Row 4, column B (Phone)" in page
    changed = tiles(imported(visitor, LIST, tags="school\nclass", column="Phone")[1])
    assert (changed["New"], changed["Changed"]) == ("0", "2")
    assert tiles(imported(visitor, LIST)[1])["Unchanged"] == "2"
    exported = visitor.get("/contacts/export.csv")
    assert exported.headers["Content-Disposition"] == "attachment; filename=contacts.csv"
    assert "12025550110,Ada," in exported.text


def test_a_file_that_cannot_be_imported_is_told_on_the_page(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    for content, reason in ((b"Phone\n12\n", "Row 2, column A (Phone)"), (b"", 'role="alert"')):
        status, page = imported(visitor, content, tags="kept")
        assert status == 422
        assert reason in page
        assert "kept</textarea>" in page
    assert "Choose a file." in visitor.post("/contacts/import").text
    assert "<script>" not in imported(visitor, b"Phone\n<script>\n")[1]


def test_tags_and_fields_of_a_contact_are_shown_and_changed(acme: Tenant) -> None:
    visitor, made = ConsoleUser(acme), acme.make("/contact", name="Ada", phones=["12025550110"])
    path = f"/contacts/{made['_id']}"
    person = {"name": "Ada", "phones": "12025550110", "tags": "vip\nschool"}
    visitor.post(path, **person, field=["city", "grade", ""], value=["Lagos", "", "lost"])
    stored = acme.get(f"/contact/{made['_id']}").json["data"]
    assert stored["tags"] == ["vip", "school"]
    assert stored["fields"] == {"city": "Lagos"}
    page = visitor.get(path).text
    assert "vip\nschool</textarea>" in page
    assert 'value="city"' in page
    visitor.post(path, name="Ada", phones="12025550110", tags="", field="city", value="")
    stored = acme.get(f"/contact/{made['_id']}").json["data"]
    assert (stored["tags"], stored["fields"]) == ([], {})


def test_a_group_by_a_rule_is_counted_before_it_is_stored(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    imported(visitor, LIST)
    rule = {"tags": "vip", "field": ["City", ""], "value": ["Lagos", ""]}
    shown = visitor.post("/groups/rule/preview", **rule).text
    assert "one contact matches" in shown
    assert "Ada" in shown
    assert "<html" in shown
    live = {"headers": {"HX-Request": "true"}, "data": {"csrf": visitor.word()}}
    assert visitor.http.post("/console/groups/rule/preview", **live).text.startswith("<div")
    assert visitor.post("/groups/rule", name="x", tags="nobody").status_code == 422
    assert visitor.post("/groups/rule", name="x").status_code == 422
    group = visitor.post("/groups/rule", name="Lagos", **rule).headers["Location"]
    path = group.removeprefix("/console")
    assert visitor.post("/groups/rule", name="Lagos", **rule).status_code == 409
    page = visitor.get(path).text
    assert "City = <b>Lagos</b>" in page
    assert "Add people" not in page
    for fields in ({"tags": "nobody"}, {}):
        assert visitor.post(f"{path}/rule", name="Lagos", **fields).status_code == 422
    assert visitor.post(f"{path}/rule", name="Guests", tags="vip").status_code == 303
    assert "Bo" in visitor.get(path).text
    assert "2 contacts match" in visitor.get(f"{path}/rule").text


def test_nobody_is_taken_out_of_a_group_by_a_rule_by_hand(acme: Tenant) -> None:
    visitor = ConsoleUser(acme)
    imported(visitor, LIST)
    group = acme.make("/group", name="Guests", rule={"tags": ["vip"]})
    member = group["contacts"][0]
    visitor.post(f"/groups/{group['_id']}/people/{member}/remove")
    assert "This group has a rule." in visitor.said()
    assert acme.get(f"/group/{group['_id']}").json["data"]["rule"]
