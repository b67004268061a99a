"""Clients."""

from __future__ import annotations

import pytest

from service.core import clients
from service.database import Database
from service.errors import ConflictError, InvalidError, NotFoundError


def test_a_client_is_found_by_its_name(database: Database) -> None:
    with database.writing() as db:
        made = clients.create(db, "  Acme ")
    with database.reading() as db:
        assert clients.get(db, "Acme").id == made.id
        assert [client.name for client in clients.every(db)] == ["Acme"]


def test_a_name_belongs_to_one_client(database: Database) -> None:
    with database.writing() as db:
        clients.create(db, "Acme")
    with database.writing() as db, pytest.raises(ConflictError, match="'Acme' already"):
        clients.create(db, "Acme")


def test_a_client_needs_a_name(database: Database) -> None:
    with database.writing() as db, pytest.raises(InvalidError):
        clients.create(db, " ")


def test_an_unknown_client_is_not_found(database: Database) -> None:
    with database.reading() as db, pytest.raises(NotFoundError, match="client 'Acme'"):
        clients.get(db, "Acme")
