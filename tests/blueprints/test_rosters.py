"""Groups whose contacts are written in several transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session as Db

from service.app import Application
from service.core import clients, contacts, groups, members, rosters
from service.core.limits import Limit
from service.core.paging import PageRequest
from service.database import now_ms
from service.metrics import meters
from service.models import Group, GroupMember
from tests.conftest import Tenant
from tests.statements import noted

PIECE = 10
HOUR = 3_600_000


class Died(BaseException):
    """What ends a process in the middle of a request."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rosters, "PIECE", PIECE)


@pytest.fixture
def people(acme: Tenant) -> list[str]:
    with acme.crier.database.writing() as db:
        return [
            contacts.create(db, acme.id, {"name": f"{n}", "phones": [f"23481798037{n:02d}"]}).id
            for n in range(25)
        ]


def rows(tenant: Tenant) -> int:
    """Return how many members there are, in force or not."""
    with tenant.crier.database.reading() as db:
        return db.scalar(select(func.count()).select_from(GroupMember)) or 0


def breaking(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> list[int]:
    """Let the writing of this piece fail, counted from 0; return the sizes of those written."""
    written: list[int] = []
    write = rosters.write

    def fail(db: Db, group_id: str, first: int, contact_ids: list[str]) -> None:
        if len(written) == at:
            raise error
        written.append(len(contact_ids))
        write(db, group_id, first, contact_ids)

    monkeypatch.setattr(rosters, "write", fail)
    return written


def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be undone, as if the process were killed."""
    for name in ("clear", "remove"):
        monkeypatch.setattr(rosters, name, lambda *_: False)


def test_a_long_list_is_written_in_pieces_and_seen_as_a_whole(
    acme: Tenant, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = breaking(monkeypatch, -1, Died())
    made = acme.make("/group", name="friends", contacts=people)
    assert written == [10, 10, 5]
    assert (made["contacts"], made["size"], made["__v"]) == (people, 25, 0)
    changed = acme.put(f"/group/{made['_id']}", json={"contacts": people[::-1]}).json["data"]
    assert (changed["contacts"], changed["__v"]) == (people[::-1], 1)
    assert rows(acme) == 25
    page = acme.get(f"/group/{made['_id']}/contact?page_size=3").json["data"]
    assert [each["_id"] for each in page] == people[:-4:-1]
    assert acme.get("/group").json["data"][0]["size"] == 25
    assert acme.get(f"/contact/{people[3]}").json["data"]["group_id"] == made["_id"]
    assert acme.delete(f"/group/{made['_id']}").json["data"] == changed
    assert rows(acme) == 0


def test_a_group_is_not_there_before_all_of_it_is(
    acme: Tenant, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rosters.write
    seen: list[Any] = []

    def look(db: Db, *values: Any) -> None:
        with acme.crier.database.reading() as other:
            found = other.scalars(select(Group)).all()
            mine = groups.page(other, acme.id, PageRequest(1, 10))
            seen.append((len(found), mine.total))
        write(db, *values)

    monkeypatch.setattr(rosters, "write", look)
    acme.make("/group", name="friends", contacts=people)
    assert seen == [(1, 0), (1, 0), (1, 0)]
    assert acme.post("/group", json={"name": "friends"}).status_code == 409


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_fails_in_the_middle_leaves_nothing(
    acme: Tenant, people: list[str], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    made = acme.make("/group", name="family", contacts=people[:3])
    with monkeypatch.context() as patch:
        breaking(patch, at, Died())
        with pytest.raises(Died):
            acme.post("/group", json={"name": "friends", "contacts": people})
    with monkeypatch.context() as patch:
        breaking(patch, at, Died())
        with pytest.raises(Died):
            acme.put(f"/group/{made['_id']}", json={"contacts": people})
    assert acme.get(f"/group/{made['_id']}").json["data"] == made
    assert rows(acme) == 3
    assert acme.make("/group", name="friends", contacts=people)["size"] == 25


def test_what_a_crash_leaves_is_seen_by_nobody_and_deleted_later(
    acme: Tenant, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = acme.make("/group", name="family", contacts=people[:3])
    with monkeypatch.context() as patch:
        dying(patch)
        asked = (("POST", "/group"), ("PUT", f"/group/{made['_id']}"))
        for number, (method, path) in enumerate(asked):
            with patch.context() as other:
                breaking(other, 2, Died())
                with pytest.raises(Died):
                    acme.ask(method, path, json={"name": f"{number}", "contacts": people})
    assert rows(acme) == 43
    assert acme.get(f"/group/{made['_id']}").json["data"] == made
    assert [each["size"] for each in acme.get("/group").json["data"]] == [3]
    assert acme.get(f"/contact/{people[9]}").json["data"]["group_id"] is None
    database = acme.crier.database
    with database.reading() as db:
        assert rosters.abandoned(db, now=now_ms()) == []
        [left] = rosters.abandoned(db, now=now_ms() + 2 * HOUR)
    with database.writing() as db:
        while rosters.remove(db, left):
            pass
        assert not rosters.forget(db, now=now_ms())
    assert rows(acme) == 23
    with database.writing() as db:
        while rosters.forget(db, now=now_ms() + 2 * HOUR):
            pass
    assert rows(acme) == 3


def test_contacts_that_are_not_in_force_are_not_counted(acme: Tenant, people: list[str]) -> None:
    with acme.crier.database.writing() as db:
        clients.limit(db, "Acme", {Limit.MEMBERS: 30})
    made = acme.make("/group", name="friends", contacts=people)
    assert acme.put(f"/group/{made['_id']}", json={"contacts": people[1:]}).status_code == 200
    refused = acme.post("/group", json={"name": "more", "contacts": people[:12]})
    assert refused.status_code == 409
    assert "30" in refused.json["message"]
    assert rows(acme) == 24
    assert acme.make("/group", name="more", contacts=people[:6])["size"] == 6


def test_a_list_is_one_entry_of_the_audit_log(acme: Tenant, people: list[str]) -> None:
    before = len(acme.get("/audit?page_size=1000").json["data"])
    made = acme.make("/group", name="friends", contacts=people)
    acme.put(f"/group/{made['_id']}", json={"contacts": people[1:]})
    acme.delete(f"/group/{made['_id']}")
    found = acme.get("/audit?page_size=1000").json["data"][: -before or None]
    assert {each["object_id"] for each in found} == {made["_id"]}
    assert sorted(each["action"] for each in found) == [
        "group.create",
        "group.delete",
        "group.update",
    ]


def test_nobody_has_to_wait_while_a_broadcast_looks_up_its_groups(
    acme: Tenant, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.make("/session", name="main", channel="sandbox")
    made = acme.make("/group", name="friends", contacts=people)
    phones, written = members.phones, []

    def look(*values: Any, **options: Any) -> list[str]:
        with acme.crier.database.writing() as db:
            written.append(clients.limit(db, "Acme", {}))
        return phones(*values, **options)

    monkeypatch.setattr(members, "phones", look)
    order = {"to": [made["_id"]], "send_type": "group", "message": {"text": "Hello"}}
    later = acme.make("/broadcast", **order, send_at="2100-01-01T00:00:00Z")
    assert acme.put(f"/broadcast/{later['_id']}", json=order).status_code == 200
    assert len(written) == 2


def test_groups_with_the_same_contacts_are_looked_up_so_often_and_no_more(
    make_app: Callable[..., Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = Tenant(make_app(max_recipients=25), "Acme")
    acme.make("/session", name="main", channel="sandbox")
    contacts = [
        acme.make("/contact", name=f"{n}", phones=[f"23481798037{n:02d}"])["_id"] for n in range(26)
    ]
    same = [acme.make("/group", name=f"{n}", contacts=contacts[:20])["_id"] for n in range(9)]
    all_of_them = acme.make("/group", name="all", contacts=contacts)["_id"]
    looked_at = []
    phones = members.phones

    def look(*values: Any, **options: Any) -> list[str]:
        looked_at.append(values[2])
        return phones(*values, **options)

    monkeypatch.setattr(members, "phones", look)
    order = {"send_type": "group", "message": {"text": "Hello"}}
    assert acme.post("/broadcast", json={"to": same[:2], **order}).status_code == 201
    looked_at.clear()
    refused = acme.post("/broadcast", json={"to": same, **order})
    assert refused.status_code == 422
    assert "have 60 contacts, most of them several times" in refused.json["errors"]["to"][0]
    assert looked_at == same[:3]
    refused = acme.post("/broadcast", json={"to": [all_of_them, *same], **order})
    assert "Has more than 25 recipients" in refused.json["errors"]["to"][0]


def test_what_failed_after_its_commit_stays_in_force(
    acme: Tenant, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a commit got lost: the writer undoes what is in force already."""
    made = acme.make("/group", name="family", contacts=people[:3])
    lost: list[str] = []

    def losing(name: str) -> None:
        finish = getattr(groups, name)

        def done(*values: Any, **options: Any) -> Any:
            lost.append(name)
            return finish(*values, **options)

        monkeypatch.setattr(groups, name, done)

    def lose(_info: Any) -> None:
        if lost:
            lost.clear()
            raise Died

    monkeypatch.setattr(meters, "commit", lose)
    for name in ("update", "publish"):
        losing(name)
    with pytest.raises(Died):
        acme.put(f"/group/{made['_id']}", json={"contacts": people})
    assert acme.get(f"/group/{made['_id']}").json["data"]["contacts"] == people
    with pytest.raises(Died):
        acme.post("/group", json={"name": "friends", "contacts": people})
    found = {each["name"]: each["size"] for each in acme.get("/group").json["data"]}
    assert found == {"family": 25, "friends": 25}


def test_two_writers_who_draw_the_same_number_never_share_it(
    acme: Tenant, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = acme.make("/group", name="family", contacts=people[:3])
    path, roster = f"/group/{made['_id']}", rosters.new()
    monkeypatch.setattr(rosters, "new", lambda: roster)
    with monkeypatch.context() as patch:
        dying(patch)
        breaking(patch, 1, Died())
        with pytest.raises(Died):
            acme.put(path, json={"contacts": people})
    # The first of the rows that are left is deleted with its contact.
    acme.delete(f"/contact/{people[0]}")
    for some in (people[1:], people[1:3]):
        assert acme.put(path, json={"contacts": some}).status_code == 409
    assert acme.get(path).json["data"]["contacts"] == people[1:3]
    with acme.crier.database.writing() as db:
        assert not rosters.clear(db, made["_id"], roster)
    assert acme.put(path, json={"contacts": people[1:]}).status_code == 200
    # Nobody writes it anew, or undoes it, while it is in force.
    assert acme.put(path, json={"contacts": people[2:]}).status_code == 409
    with acme.crier.database.writing() as db:
        assert not rosters.clear(db, made["_id"], roster)
    assert acme.get(path).json["data"]["contacts"] == people[1:]


def test_a_roster_that_may_be_forgotten_soon_is_not_put_in_force(
    acme: Tenant, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = acme.make("/group", name="family", contacts=people[:3])
    monkeypatch.setattr(groups, "now_ms", lambda: now_ms() + HOUR)
    refused = acme.put(f"/group/{made['_id']}", json={"contacts": people})
    assert refused.status_code == 409
    assert "took too long" in refused.json["message"]
    assert acme.post("/group", json={"name": "x", "contacts": people}).status_code == 409
    assert acme.get(f"/group/{made['_id']}").json["data"] == made
    assert rows(acme) == 3


def test_a_reader_of_a_group_that_is_replaced_sees_one_list_or_the_other(
    acme: Tenant, people: list[str]
) -> None:
    """It has read the group before the change, and reads the contacts after it."""
    made = acme.make("/group", name="family", contacts=people)
    with acme.crier.database.reading() as db:
        group = groups.get(db, acme.id, made["_id"])
    acme.put(f"/group/{made['_id']}", json={"contacts": people[::-1]})
    with acme.crier.database.reading() as db:
        assert members.read(db, group) == people[::-1]
        page = members.page(db, group, PageRequest(1, 3))
        assert [contact.id for contact in page.items] == people[:-4:-1]
    tagged = acme.make("/contact", name="Eve", phones=["2348179803799"], tags=["new"])["_id"]
    acme.put(f"/group/{made['_id']}", json={"rule": {"tags": ["new"]}})
    with acme.crier.database.reading() as db:
        assert members.read(db, group) == [tagged]


def test_a_change_reads_its_group_twice(acme: Tenant, people: list[str]) -> None:
    """For the request, and in the transaction that changes it."""
    made = acme.make("/group", name="family", contacts=people)
    with noted(acme.crier.database, "groups.name") as statements:
        acme.put(f"/group/{made['_id']}", json={"contacts": people[::-1], "__v": made["__v"]})
    looks = [each for each in statements if "groups.name" in each.sql.partition("FROM")[0]]
    assert len(looks) == 2, looks
