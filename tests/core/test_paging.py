"""Pages of lists."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from service.core import clients, paging
from service.core.paging import PageRequest
from service.database import Database
from service.errors import InvalidError
from service.models import Client


@pytest.fixture
def names(database: Database) -> list[str]:
    names = [f"client {number}" for number in range(7)]
    with database.writing() as db:
        for name in names:
            clients.create(db, name)
    return names


def fetch(database: Database, request: PageRequest) -> paging.Page[Client]:
    with database.reading() as db:
        return paging.fetch(db, select(Client), Client.id, request)


def test_pages_together_are_the_whole_list_in_order(database: Database, names: list[str]) -> None:
    pages = [fetch(database, PageRequest(page, 3)) for page in (1, 2, 3)]
    assert [client.name for page in pages for client in page.items] == names
    assert [(page.page, page.page_size, page.total, page.last_page) for page in pages] == [
        (1, 3, 7, 3),
        (2, 3, 7, 3),
        (3, 3, 7, 3),
    ]


def test_a_list_can_be_read_from_its_end(database: Database, names: list[str]) -> None:
    page = fetch(database, PageRequest(1, 3, descending=True))
    assert [client.name for client in page.items] == names[:-4:-1]


def test_the_first_page_of_an_empty_list_is_empty(database: Database) -> None:
    page = fetch(database, PageRequest())
    assert (list(page.items), page.total, page.last_page) == ([], 0, 1)


@pytest.mark.parametrize("number", [4, 10**9, 10**30])
def test_a_page_beyond_the_last_is_refused_whatever_its_size(
    database: Database, names: list[str], number: int
) -> None:
    assert len(names) == 7
    with pytest.raises(InvalidError) as refusal:
        fetch(database, PageRequest(number, 3))
    assert refusal.value.errors == {"page": ["The last page is 3."]}


def test_a_page_can_be_changed_item_by_item(database: Database, names: list[str]) -> None:
    page = fetch(database, PageRequest(2, 3)).map(lambda client: client.name)
    assert list(page.items) == names[3:6]
    assert page.last_page == 3
