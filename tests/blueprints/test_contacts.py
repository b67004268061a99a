"""Contacts over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from service.core.deliveries import chunks
from service.database import now_ms
from tests.conftest import Tenant, on_sqlite

ADA = {
    "name": "Ada Obi",
    "phones": ["+234 817 980 3743", "2348179803743", "447911123456"],
    "emails": ["ada@example.com"],
    "organisation": "Acme",
}


def test_a_contact_is_stored_with_normalised_phones_and_shown_as_a_vcard(acme: Tenant) -> None:
    made = acme.make("/contact", **ADA)
    assert made["phones"] == ["2348179803743", "447911123456"]
    assert made["vcard"].startswith("BEGIN:VCARD\r\nVERSION:3.0\r\n")
    assert list(made) == [
        "_id",
        "name",
        "phones",
        "landlines",
        "emails",
        "organisation",
        "vcard",
        "client_id",
        "createdAt",
        "updatedAt",
        "__v",
        "number",
        "group_id",
        "channel",
        "fields",
        "tags",
    ]
    assert acme.get(f"/contact/{made['_id']}").json["data"] == made


def test_what_is_optional_may_be_left_out(acme: Tenant) -> None:
    made = acme.make("/contact", name=" Ada ", phones=["2348179803743"])
    assert (made["name"], made["emails"], made["organisation"]) == ("Ada", [], "")


@on_sqlite
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"phones": ["2348179803743", "12", "letters"]}, "phones.1"),
        ({"phones": []}, "phones"),
        ({"phones": "2348179803743"}, "phones"),
        ({"phones": [True]}, "phones.0"),
        ({"name": " "}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({"emails": ["nonsense"]}, "emails.0"),
        ({"organisation": 5}, "organisation"),
        ({"nickname": "Ada"}, "nickname"),
    ],
)
def test_each_fault_is_named_and_nothing_is_stored(
    acme: Tenant, change: dict[str, Any], field: str
) -> None:
    answer = acme.post("/contact", json={**ADA, **change})
    assert answer.status_code == 422
    assert field in answer.json["errors"]
    assert acme.get("/contact").json["data"] == []


def test_every_bad_phone_is_named_with_its_position(acme: Tenant) -> None:
    answer = acme.post("/contact", json={**ADA, "phones": ["12", "2348179803743", "letters"]})
    assert list(answer.json["errors"]) == ["phones.0", "phones.2"]


def test_a_change_touches_only_what_is_given_and_counts_the_version(acme: Tenant) -> None:
    made = acme.make("/contact", **ADA)
    path = f"/contact/{made['_id']}"
    changed = acme.put(path, json={"organisation": "", "phones": ["447911123456"], "__v": 0})
    assert changed.status_code == 200
    data = changed.json["data"]
    assert (data["name"], data["organisation"], data["phones"]) == (
        "Ada Obi",
        "",
        ["447911123456"],
    )
    assert data["__v"] == 1
    assert data["createdAt"] == made["createdAt"]
    assert data["updatedAt"] >= made["updatedAt"]


def test_a_change_of_an_older_version_is_refused(acme: Tenant) -> None:
    made = acme.make("/contact", **ADA)
    path = f"/contact/{made['_id']}"
    assert acme.put(path, json={"name": "Ada O.", "__v": 0}).status_code == 200
    stale = acme.put(path, json={"name": "A. Obi", "__v": 0})
    assert stale.status_code == 409
    assert acme.get(path).json["data"]["name"] == "Ada O."


def test_deleting_answers_with_the_contact_and_takes_it_out_of_groups(acme: Tenant) -> None:
    ada, ben = acme.make("/contact", **ADA), acme.make("/contact", **{**ADA, "name": "Ben"})
    group = acme.make("/group", name="friends", contacts=[ada["_id"], ben["_id"]])
    answer = acme.delete(f"/contact/{ada['_id']}")
    assert answer.json["data"] == {**ada, "group_id": group["_id"]}
    assert acme.get(f"/contact/{ada['_id']}").status_code == 404
    left = acme.get(f"/group/{group['_id']}").json["data"]
    assert (left["contacts"], left["size"]) == ([ben["_id"]], 1)


@on_sqlite
@pytest.mark.parametrize("contact_id", ["nonsense", "0" * 24, "A" * 24, "%00", "\u00e4"])
def test_an_id_that_is_none_is_not_found(acme: Tenant, contact_id: str) -> None:
    answer = acme.get(f"/contact/{contact_id}")
    assert answer.status_code == 404
    assert answer.json["status"] is False


def test_a_landline_is_kept_and_marked_and_messages_go_to_the_first_other_phone(
    acme: Tenant,
) -> None:
    acme.make("/session", name="main", channel="sandbox")
    phones = ["+44 (0)20 7946 0958", 12025550110, "tel:+1-202-555-0111"]
    made = acme.make("/contact", name="Ada", phones=phones)
    assert made["phones"] == ["442079460958", "12025550110", "12025550111"]
    assert made["landlines"] == ["442079460958"]
    alone = acme.make("/contact", name="Ben", phones=["442079460959"])
    group = acme.make("/group", name="friends", contacts=[made["_id"], alone["_id"]])
    message = {"text": "Hello"}
    sent = acme.make("/broadcast", send_type="group", to=group["_id"], message=message)
    with acme.crier.database.writing() as db:
        chunks.fan_out(db, sent["_id"], now=now_ms())
    pending = acme.get(f"/broadcast/{sent['_id']}").json["data"]["pending"]
    assert pending == ["12025550110", "442079460959"]


@on_sqlite
@pytest.mark.parametrize("empty", ["", None, [], {}])
def test_an_optional_field_that_says_nothing_is_absent(acme: Tenant, empty: Any) -> None:
    made = acme.make("/contact", name="Ada", phones=["12025550110"], emails=empty)
    assert made["emails"] == []


def test_a_form_changes_only_what_was_filled_in(acme: Tenant) -> None:
    made = acme.make("/contact", name="Ada", phones=["12025550110"], organisation="Acme")
    unfilled = {"name": "", "emails": "", "phones": "", "__v": "", "organisation": ""}
    changed = acme.put(f"/contact/{made['_id']}", data=unfilled).json["data"]
    assert (changed["name"], changed["phones"]) == ("Ada", ["12025550110"])
    assert changed["organisation"] == ""  # an empty text is what it may be
