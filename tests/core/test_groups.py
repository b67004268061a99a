"""Contacts that enter groups at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from service.core import contacts, groups
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
                groups.move(db, db.get_one(Contact, ids[place]), group_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(PEOPLE)))
    with world.database.reading() as db:
        inside = {
            group_id: set(groups.members(db, db.get_one(Group, group_id)))
            for group_id in (first, second)
        }
    assert inside == {first: set(ids[::2]), second: set(ids[1::2])}
