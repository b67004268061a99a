"""Tokens and the clients they belong to."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from service.core import clients, tokens
from service.core.tokens import Scope
from service.database import Database
from service.errors import ConflictError, InvalidError, NotFoundError, UnauthorisedError
from service.models import Token

NOW = 1_700_000_000_000


def create(database: Database, *scopes: str, expires_at: int | None = None) -> tuple[Token, str]:
    with database.writing() as db:
        client = clients.find(db, "Acme") or clients.create(db, "Acme")
        return tokens.create(db, client.id, "laptop", scopes or ["read"], expires_at)


def test_a_token_says_whose_it_is_and_what_it_may(database: Database) -> None:
    token, secret = create(database, "send")
    with database.reading() as db:
        caller = tokens.verify(db, secret, NOW)
    assert caller.client_id == token.client_id
    assert [caller.may(scope) for scope in Scope] == [True, True, False]


def test_the_database_does_not_hold_the_secret(database: Database) -> None:
    _, secret = create(database)
    with database.reading() as db:
        row = db.scalars(select(Token)).one()
    held = " ".join(str(value) for value in vars(row).values())
    assert secret not in held
    assert secret.removeprefix(row.prefix) not in held
    assert len(secret.removeprefix(row.prefix)) * 4 >= 128


def test_two_tokens_are_never_alike(database: Database) -> None:
    assert create(database)[1] != create(database)[1]


def test_a_token_ends_at_its_moment(database: Database) -> None:
    _, secret = create(database, expires_at=NOW)
    with database.reading() as db:
        assert tokens.verify(db, secret, NOW - 1).may(Scope.READ)
        with pytest.raises(UnauthorisedError, match="expired"):
            tokens.verify(db, secret, NOW)


def test_a_token_can_be_revoked_by_id_prefix_or_secret_and_twice(database: Database) -> None:
    for way in ("id", "prefix", "secret"):
        token, secret = create(database)
        name = {"id": token.id, "prefix": token.prefix, "secret": secret}[way]
        with database.writing() as db:
            assert tokens.revoke(db, name, NOW).revoked_at == NOW
            assert tokens.revoke(db, name, NOW + 1).revoked_at == NOW
        with database.reading() as db, pytest.raises(UnauthorisedError, match="revoked"):
            tokens.verify(db, secret, NOW)


def test_a_token_that_is_not_there_cannot_be_revoked(database: Database) -> None:
    with database.writing() as db, pytest.raises(NotFoundError):
        tokens.revoke(db, "crier_000000", NOW)


def test_an_ambiguous_prefix_is_refused(database: Database) -> None:
    one, _ = create(database)
    other, _ = create(database)
    with database.writing() as db:
        for row in db.scalars(select(Token)):
            row.prefix = one.prefix
    with database.writing() as db, pytest.raises(ConflictError):
        tokens.revoke(db, one.prefix, NOW)
    assert other.id != one.id


def test_an_unknown_scope_is_refused(database: Database) -> None:
    with pytest.raises(InvalidError) as refusal:
        create(database, "read", "everything")
    assert "read, send, admin" in refusal.value.errors["scopes"][0]


def test_tokens_are_listed_by_client_oldest_first(database: Database) -> None:
    first, _ = create(database)
    second, _ = create(database)
    with database.writing() as db:
        other = clients.create(db, "Globex")
        third, _ = tokens.create(db, other.id, "phone", ["admin"])
    with database.reading() as db:
        assert [token.id for token in tokens.every(db, first.client_id)] == [first.id, second.id]
        assert [token.id for token in tokens.every(db)] == [first.id, second.id, third.id]
