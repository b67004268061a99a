"""What was sent to whom, across broadcasts."""

from __future__ import annotations

from typing import Any

import pytest

from service import ids
from service.core import broadcasts, clients, delivery_log
from service.core.deliveries import chunks
from service.core.delivery_log import DeliveryScope
from service.core.paging import PageRequest
from service.database import now_ms
from service.errors import InvalidError, NotFoundError
from tests.statements import noted
from tests.world import ADA, GRACE, World, numbers


@pytest.fixture
def world(world: World) -> World:
    world.session()
    return world


def page(
    world: World, number: int = 1, size: int = 100, *, oldest: bool = False, **where: Any
) -> list[str]:
    """Return the recipients of one page of the log."""
    with world.database.reading() as db:
        request = PageRequest(number, size, descending=not oldest)
        found = delivery_log.page(db, DeliveryScope(world.client_id, **where), request)
        return [entry.delivery.recipient for entry in found.items]


def test_pages_lead_through_all_broadcasts_the_newest_first(world: World) -> None:
    people = numbers(10)
    for start, end in ((0, 3), (3, 4), (4, 10)):
        world.ready(people[start:end])
    newest_first = people[::-1]
    assert page(world) == newest_first
    for size in (1, 2, 3, 4, 7, 10):
        pages = [page(world, number + 1, size) for number in range(-(-10 // size))]
        assert [each for some in pages for each in some] == newest_first
    assert page(world, 2, 4, oldest=True) == people[4:8]


def test_what_has_no_row_yet_is_not_in_it(world: World) -> None:
    few = world.with_settings(fanout_chunk=2)
    people = numbers(5)
    broadcast_id = few.broadcast(people)
    assert page(world) == []
    with world.database.writing() as db:
        chunks.fan_out(db, broadcast_id, now=now_ms())
    assert page(world) == [people[1], people[0]]
    with pytest.raises(InvalidError):
        page(world, 2)


def test_what_was_deleted_is_not_in_it(world: World) -> None:
    people = numbers(2)
    first, _ = world.ready(people[:1]), world.ready(people[1:])
    with world.database.writing() as db:
        broadcasts.delete(db, world.client_id, first, now=now_ms())
    assert page(world) == [people[1]]
    with world.database.reading() as db, pytest.raises(NotFoundError):
        delivery_log.get(db, DeliveryScope(world.client_id), ids.delivery(first, 0))


def test_a_client_and_a_session_have_only_their_own(world: World) -> None:
    people = numbers(2)
    other = world.session()
    world.ready(people[:1])
    mine = world.ready(people[1:], session_id=other)
    assert page(world, within=other) == [people[1]]
    with world.database.writing() as db:
        stranger = clients.create(db, "Globex").id
        assert delivery_log.page(db, DeliveryScope(stranger), PageRequest()).total == 0
        delivery_id = ids.delivery(mine, 0)
        found = delivery_log.get(db, DeliveryScope(world.client_id), delivery_id)
        assert found.delivery.recipient == people[1]
        for client_id, within in ((stranger, None), (world.client_id, "0" * 24)):
            with pytest.raises(NotFoundError):
                delivery_log.get(db, DeliveryScope(client_id, within), delivery_id)


def test_a_page_takes_as_many_statements_however_many_there_are(world: World) -> None:
    counted: list[int] = []
    for people in (numbers(1), numbers(1_000)):
        world.ready(people)
        with noted(world.database) as statements:
            page(world, 1, 10)
        counted.append(len(statements))
    assert counted[0] == counted[1]


def test_the_pages_to_one_person_are_counted_only_where_more_may_follow(world: World) -> None:
    sent = [world.ready([ADA, GRACE]) for _ in range(5)]
    scope = DeliveryScope(world.client_id)
    shown: list[list[str]] = []
    with noted(world.database, "count(") as counts:
        for number, size in ((1, 2), (2, 2), (3, 2), (1, 5), (1, 6)):
            with world.database.reading() as db:
                request = PageRequest(number, size, descending=True)
                found = delivery_log.to_recipients(db, scope, [ADA], request)
            assert found.total == 5
            shown.append([entry.broadcast.id for entry in found.items])
    newest = sent[::-1]
    assert shown == [newest[:2], newest[2:4], newest[4:], newest, newest]
    assert len(counts) == 3, "of the pages that are full"
    with world.database.reading() as db, pytest.raises(InvalidError):
        delivery_log.to_recipients(db, scope, [ADA], PageRequest(4, 2, descending=True))
