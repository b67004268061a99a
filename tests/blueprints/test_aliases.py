"""The guide's other names: a prefix, contact groups, and its fields of contacts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.blueprints.test_guide import upload
from tests.conftest import Tenant, on_sqlite


def group(tenant: Tenant, title: str = "Friends", **fields: Any) -> dict[str, Any]:
    return tenant.make("/contact_groups", title=title, **fields)


def contact(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    return tenant.make("/contact", **{"name": "Ada", "number": "+234 817 980 3743", **fields})


def change(tenant: Tenant, path: str, fields: dict[str, Any]) -> dict[str, Any]:
    answer = tenant.put(path, json=fields)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json["data"]
    return changed


def members(tenant: Tenant, group_id: str) -> list[str]:
    found: list[str] = tenant.get(f"/group/{group_id}").json["data"]["contacts"]
    return found


def test_every_route_of_the_api_also_answers_under_the_prefix(acme: Tenant) -> None:
    made = upload(acme)
    answer = acme.get(f"/api/v1/attachment/{made['_id']}")
    assert answer.json["data"] == made
    assert acme.get("/api/v1/healthz").status_code == 200
    for index in range(2):
        acme.make("/api/v1/contact", name=f"Ada {index}", phones=["2348179803743"])
    link = acme.get("/api/v1/contact?page_size=1").headers["Link"]
    assert "/contact?page_size=1&page=2" in link
    assert "/api/v1" not in link


@on_sqlite
@pytest.mark.parametrize(
    "path", ["/api/v1", "/api/v1/", "/api/v1/api/v1/healthz", "/api/v1/metrics", "/api/v1//docs"]
)
def test_nothing_else_answers_under_the_prefix(acme: Tenant, path: str) -> None:
    assert acme.get(path).status_code == 404


def test_a_contact_group_is_a_group_under_the_guides_names(acme: Tenant) -> None:
    answer = acme.post("/contact_groups", json={"title": "Friends", "is_default": True})
    assert answer.status_code == 201
    assert answer.json["message"] == "ContactGroup group created successfully!"
    made = answer.json["data"]
    assert (made["title"], made["name"], made["is_default"]) == ("Friends", "Friends", True)
    path = f"/contact_groups/{made['_id']}"
    for method, word in (("GET", "fetched"), ("PUT", "updated"), ("DELETE", "deleted")):
        answer = acme.ask(method, path, json={})
        assert answer.json["message"] == f"ContactGroup {word} successfully!"
    assert acme.get(f"/group/{made['_id']}").status_code == 404


def test_a_group_needs_a_name_under_either_word(acme: Tenant) -> None:
    assert acme.post("/group", json={}).json["errors"] == {"name": ["This field is required."]}
    answer = acme.post("/group", json={"name": "a", "title": "b"})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["title"])
    assert acme.post("/contact_groups", json={"title": " "}).status_code == 422


def test_a_whole_group_is_taken_back_with_either_word_changed(acme: Tenant) -> None:
    path = f"/contact_groups/{group(acme)['_id']}"
    for word in ("title", "name"):
        whole = acme.get(path).json["data"]
        changed = change(acme, path, {**whole, word: f"By {word}", "is_default": word == "name"})
        assert (changed["title"], changed["name"]) == (f"By {word}", f"By {word}")
        assert changed["is_default"] is (word == "name")
    stale = {**acme.get(path).json["data"], "__v": 0}
    assert acme.put(path, json=stale).status_code == 409


def test_the_number_of_a_contact_is_its_first_phone(acme: Tenant) -> None:
    made = contact(acme, channel="whatsapp")
    assert (made["number"], made["phones"]) == ("2348179803743", ["2348179803743"])
    assert (made["channel"], made["group_id"]) == ("whatsapp", None)
    path = f"/contact/{made['_id']}"
    both = change(acme, path, {"phones": ["2348179803743", "447911123456"]})
    assert both["number"] == "2348179803743"
    changed = change(acme, path, {"number": "+234 904 898 8056"})
    assert changed["phones"] == ["2349048988056", "447911123456"]


def test_a_whole_contact_is_taken_back_with_its_number_or_its_phones_changed(acme: Tenant) -> None:
    made = contact(acme)
    path = f"/contact/{made['_id']}"
    changed = change(acme, path, {**made, "number": "2349048988056"})
    assert changed["phones"] == ["2349048988056"]
    again = change(acme, path, {**changed, "phones": ["+44 7911 123456"]})
    assert again["number"] == "447911123456"
    torn = {**again, "number": "2349048988056", "phones": ["2348179803743"]}
    answer = acme.put(path, json=torn)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["number"])


@on_sqlite
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"number": "12"}, "number"),
        ({"number": ""}, "phones"),
        ({"number": None}, "phones"),
        ({}, "phones"),
        ({"number": "2348179803743", "phones": ["447911123456"]}, "number"),
        ({"number": "2348179803743", "group_id": "0" * 24}, "group_id"),
        ({"number": "2348179803743", "group_id": "nonsense"}, "group_id"),
    ],
)
def test_a_fault_in_the_guides_fields_is_named_and_nothing_is_stored(
    acme: Tenant, fields: dict[str, Any], field: str
) -> None:
    answer = acme.post("/contact", json={"name": "Ada", **fields})
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])
    assert acme.get("/contact").json["data"] == []


def test_both_words_for_a_phone_may_say_the_same(acme: Tenant) -> None:
    phones = ["234 817 980 3743", "447911123456"]
    assert contact(acme, phones=phones)["phones"] == ["2348179803743", "447911123456"]


def test_a_contact_is_put_into_the_group_that_it_names_and_moved_by_another(acme: Tenant) -> None:
    first, second = group(acme, "First"), group(acme, "Second")
    ada = contact(acme, group_id=first["_id"])
    ben = contact(acme, group_id=first["_id"])
    assert ada["group_id"] == first["_id"]
    assert members(acme, first["_id"]) == [ada["_id"], ben["_id"]]
    path = f"/contact/{ada['_id']}"
    moved = change(acme, path, {**ada, "group_id": second["_id"]})
    assert moved["group_id"] == second["_id"]
    assert members(acme, first["_id"]) == [ben["_id"]]
    assert members(acme, second["_id"]) == [ada["_id"]]
    assert change(acme, path, moved)["group_id"] == second["_id"]
    shown = acme.get("/contact").json["data"]
    assert [each["group_id"] for each in shown] == [second["_id"], first["_id"]]
    assert acme.delete(path).json["data"]["group_id"] == second["_id"]


def test_a_contact_enters_no_group_of_another_client(acme: Tenant, globex: Tenant) -> None:
    theirs = group(globex)["_id"]
    answer = acme.post("/contact", json={"name": "A", "number": "447911123456", "group_id": theirs})
    assert answer.status_code == 422
    assert members(globex, theirs) == []


def test_lists_take_the_guides_words_for_pages(acme: Tenant) -> None:
    for index in range(3):
        contact(acme, name=f"Ada {index}")
    assert len(acme.get("/contact?limit=2").json["data"]) == 2
    assert len(acme.get("/contact?page=2&limit=2").json["data"]) == 1
    assert len(acme.get("/contact?type=all").json["data"]) == 3
    assert acme.get("/contact?type=some").status_code == 422
    both = acme.get("/contact?limit=2&page_size=3")
    assert (both.status_code, list(both.json["errors"])) == (422, ["limit"])


def test_a_message_may_name_its_one_file_as_the_guides_client_does(acme: Tenant) -> None:
    acme.make("/session", name="main", channel="sandbox")
    file = upload(acme)
    order = {"send_type": "individual", "to": "2348179803743"}
    made = acme.make("/broadcast", **order, message={"text": "Hello", "file": file["_id"]})
    assert made["message"] == {"text": "Hello", "file": file["_id"]}
    assert acme.delete(f"/attachment/{file['_id']}").status_code == 409
    answer = acme.post("/broadcast", json={**order, "message": {"file": "0" * 24}})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["message.file"])
    assert acme.make("/broadcast", **order, message={"text": "Hello", "file": ""})
