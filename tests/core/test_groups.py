"""Groups and contacts that change at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy.orm import Session as Db

from service.core import contacts, groups, members
from service.errors import InvalidError, NotFoundError
from service.models import Contact, Group
from tests.world import World

PEOPLE = 12


def test_contacts_that_enter_and_change_groups_at_once_are_all_in(world: World) -> None:
    with world.database.writing() as db:
        first, second = (groups.create(db, world.client_id, {"name": n}).id for n in "ab")
        fields = {"name": "Ada", "phones": ["2348179803743"]}
        ids = [contacts.create(db, world.client_id, fields).id for _ in range(PEOPLE)]

    def enter(place: int) -> None:
        for group_id in (first, second) if place % 2 else (second, first):
            with world.database.writing() as db:
                members.move(db, db.get_one(Contact, ids[place]), group_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(PEOPLE)))
    with world.database.reading() as db:
        inside = {
            group_id: set(members.read(db, db.get_one(Group, group_id)))
            for group_id in (first, second)
        }
    assert inside == {first: set(ids[::2]), second: set(ids[1::2])}


def put(db: Db, client_id: str, group_id: str, contact_ids: list[str]) -> Any:
    """Replace the members of a group by the same ones."""
    return groups.update(db, client_id, group_id, {"contacts": contact_ids})


def move(db: Db, client_id: str, group_id: str, contact_ids: list[str]) -> Any:
    """Move the last contact into a group."""
    return members.move(db, contacts.get(db, client_id, contact_ids[-1]), group_id)


def take_out(db: Db, client_id: str, group_id: str, contact_ids: list[str]) -> Any:
    """Take the last contact out of a group."""
    return members.take_out(db, groups.get(db, client_id, group_id), contact_ids[-1])


@pytest.mark.parametrize("change", [put, move, take_out])
def test_a_contact_can_be_deleted_while_its_group_changes(
    world: World, change: Callable[[Db, str, str, list[str]], Any]
) -> None:
    """Each round is a race that either may win; on Postgres, neither deadlocks or breaks a key."""
    fields = {"name": "Ada", "phones": ["2348179803743"]}
    with world.database.writing() as db:
        first, second = (groups.create(db, world.client_id, {"name": n}).id for n in "ab")
        known = [contacts.create(db, world.client_id, fields).id for _ in range(PEOPLE)]
        put(db, world.client_id, first, known)
    start = Barrier(2)

    def delete(contact_id: str) -> None:
        start.wait()
        with world.database.writing() as db:
            contacts.delete(db, world.client_id, contact_id)

    def change_group(contact_ids: list[str]) -> type[Exception] | None:
        group_id = second if change is move else first
        start.wait()
        try:
            with world.database.writing() as db:
                change(db, world.client_id, group_id, contact_ids)
        except (InvalidError, NotFoundError) as error:
            return type(error)
        return None

    with ThreadPoolExecutor(2) as pool:
        for left in range(PEOPLE, 0, -1):
            changed = pool.submit(change_group, known[:left])
            pool.submit(delete, known[left - 1]).result()
            assert changed.result() in {None, InvalidError, NotFoundError}


def test_contacts_leave_and_enter_the_same_groups_at_once(world: World) -> None:
    """On Postgres each locks the contact, then the groups in one order, and nobody deadlocks."""
    fields = {"name": "Ada", "phones": ["2348179803743"]}
    with world.database.writing() as db:
        first, second = (groups.create(db, world.client_id, {"name": n}).id for n in "ab")
        ids = [contacts.create(db, world.client_id, fields).id for _ in range(PEOPLE)]
        put(db, world.client_id, first, ids)
        put(db, world.client_id, second, ids)
    start = Barrier(2)

    def leave(contact_id: str) -> None:
        start.wait()
        for group_id in (second, first):
            with world.database.writing() as db:
                take_out(db, world.client_id, group_id, [contact_id])

    def enter(contact_id: str) -> None:
        start.wait()
        with world.database.writing() as db:
            move(db, world.client_id, second, [contact_id])

    with ThreadPoolExecutor(2) as pool:
        for contact_id in ids:
            entered = pool.submit(enter, contact_id)
            pool.submit(leave, contact_id).result()
            entered.result()
    with world.database.reading() as db:
        assert members.read(db, groups.get(db, world.client_id, first)) == []
