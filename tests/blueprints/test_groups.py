"""Groups over HTTP."""

from __future__ import annotations

import pytest

from service.core import members
from service.errors import NotFoundError
from tests.conftest import Tenant

NUMBERS = ["2348179803743", "2349048988056", "447911123456"]


@pytest.fixture
def people(acme: Tenant) -> list[str]:
    return [
        str(acme.make("/contact", name=number, phones=[number, "16502530000"])["_id"])
        for number in NUMBERS
    ]


def test_a_group_keeps_its_contacts_in_order_each_once(acme: Tenant, people: list[str]) -> None:
    given = [people[2], people[0], people[2]]
    made = acme.make("/group", name="friends", contacts=given)
    assert made["contacts"] == [people[2], people[0]]
    assert made["size"] == 2
    assert acme.get(f"/group/{made['_id']}").json["data"] == made


def test_lists_of_groups_tell_their_sizes(acme: Tenant, people: list[str]) -> None:
    acme.make("/group", name="friends", contacts=people)
    acme.make("/group", name="nobody")
    listed = acme.get("/group").json["data"]
    assert [(group["name"], group["size"]) for group in listed] == [("friends", 3), ("nobody", 0)]
    assert "contacts" not in listed[0]


def test_unknown_contacts_are_named_with_their_position(
    acme: Tenant, globex: Tenant, people: list[str]
) -> None:
    theirs = globex.make("/contact", name="Eve", phones=[NUMBERS[0]])["_id"]
    answer = acme.post("/group", json={"name": "x", "contacts": [people[0], theirs, "0" * 24]})
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["contacts.1", "contacts.2"]
    assert acme.get("/group").json["data"] == []


def test_a_name_is_unique_within_a_client(acme: Tenant, globex: Tenant) -> None:
    made = acme.make("/group", name="friends")
    globex.make("/group", name="friends")
    other = acme.make("/group", name="family")
    assert acme.post("/group", json={"name": "friends"}).status_code == 409
    renamed = acme.put(f"/group/{other['_id']}", json={"name": "friends"})
    assert renamed.status_code == 409
    assert "already have a group named 'friends'" in renamed.json["message"]
    assert acme.put(f"/group/{made['_id']}", json={"name": "friends"}).status_code == 200


def test_a_taken_name_is_refused_with_new_contacts_too(acme: Tenant, people: list[str]) -> None:
    acme.make("/group", name="friends")
    other = acme.make("/group", name="others")
    taken = acme.put(f"/group/{other['_id']}", json={"name": "friends", "contacts": people})
    assert taken.status_code == 409, taken.text
    assert taken.json["errors"] == {"name": ["You already have a group named 'friends'."]}


def test_replacing_the_contacts_alone_counts_the_version(acme: Tenant, people: list[str]) -> None:
    made = acme.make("/group", name="friends", contacts=people)
    path = f"/group/{made['_id']}"
    changed = acme.put(path, json={"contacts": people[:1], "__v": 0}).json["data"]
    assert (changed["contacts"], changed["name"], changed["__v"]) == (people[:1], "friends", 1)
    assert acme.put(path, json={"contacts": [], "__v": 0}).status_code == 409
    emptied = acme.put(path, json={"contacts": []}).json["data"]
    assert (emptied["contacts"], emptied["__v"]) == ([], 2)


def test_deleting_a_group_leaves_its_contacts(acme: Tenant, people: list[str]) -> None:
    made = acme.make("/group", name="friends", contacts=people)
    assert acme.delete(f"/group/{made['_id']}").json["data"] == made
    assert acme.get(f"/group/{made['_id']}").status_code == 404
    assert len(acme.get("/contact").json["data"]) == 3


def test_a_group_expands_to_the_first_phone_of_each(
    acme: Tenant, globex: Tenant, people: list[str]
) -> None:
    made = acme.make("/group", name="friends", contacts=people[::-1])
    with acme.crier.database.reading() as db:
        assert members.phones(db, acme.id, made["_id"]) == NUMBERS[::-1]
        with pytest.raises(NotFoundError):
            members.phones(db, globex.id, made["_id"])


def test_a_broadcast_goes_to_the_members_of_groups_each_once(
    acme: Tenant, people: list[str]
) -> None:
    acme.make("/session", name="main", channel="sandbox")
    one = acme.make("/group", name="one", contacts=people[:2])["_id"]
    two = acme.make("/group", name="two", contacts=people[1:])["_id"]
    made = acme.make("/broadcast", send_type="group", to=f"{one},{two}", message={"text": "Hi"})
    assert made["counts"]["total"] == 3


def test_more_contacts_than_one_statement_takes_are_looked_up(acme: Tenant) -> None:
    answer = acme.post("/group", json={"name": "x", "contacts": ["0" * 24] * 1200})
    assert answer.status_code == 422
    assert len(answer.json["errors"]) == 1000
