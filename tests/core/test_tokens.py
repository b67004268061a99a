"""Tokens and the clients they belong to."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from service.core import callers, clients, retention, token_uses, tokens
from service.core.tokens import Scope
from service.database import Database
from service.errors import ConflictError, InvalidError, NotFoundError, UnauthorisedError
from service.models import Token
from tests.world import World

NOW = 1_700_000_000_000


def create(database: Database, *scopes: str, expires_at: int | None = None) -> tuple[Token, str]:
    with database.writing() as db:
        client = clients.find(db, "Acme") or clients.create(db, "Acme")
        return tokens.create(db, client.id, "laptop", scopes or ["read"], expires_at)


def test_a_token_says_whose_it_is_and_what_it_may(database: Database) -> None:
    token, secret = create(database, "send")
    with database.reading() as db:
        caller = callers.verify(db, secret, NOW)
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
        assert callers.verify(db, secret, NOW - 1).may(Scope.READ)
        with pytest.raises(UnauthorisedError, match="expired"):
            callers.verify(db, secret, NOW)


def test_a_token_can_be_revoked_by_id_prefix_or_secret_and_twice(database: Database) -> None:
    for way in ("id", "prefix", "secret"):
        token, secret = create(database)
        name = {"id": token.id, "prefix": token.prefix, "secret": secret}[way]
        with database.writing() as db:
            assert tokens.revoke(db, name, NOW).revoked_at == NOW
            assert tokens.revoke(db, name, NOW + 1).revoked_at == NOW
        with database.reading() as db, pytest.raises(UnauthorisedError, match="revoked"):
            callers.verify(db, secret, NOW)


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


def scope_at(database: Database, secret: str, now: int) -> bool:
    """Return whether a token may read at a time."""
    with database.reading() as db:
        return callers.verify(db, secret, now).may(Scope.READ)


def test_a_replaced_token_is_valid_for_the_overlap_and_never_longer_than_before(
    database: Database,
) -> None:
    for expires_at, until in ((None, NOW + 1_000), (NOW + 10, NOW + 10)):
        token, secret = create(database, "read", expires_at=expires_at)
        with database.writing() as db:
            former = tokens.named(db, secret)
            new, made = tokens.rotate(db, former, NOW + 5_000, overlap=1_000, now=NOW)
        assert (former.replaced_by, former.expires_at) == (new.id, until)
        assert (new.name, new.scopes, new.client_id) == (token.name, "read", token.client_id)
        assert scope_at(database, secret, until - 1)
        with pytest.raises(UnauthorisedError, match="newer token has replaced"):
            scope_at(database, secret, until)
        assert scope_at(database, made, NOW + 4_999)


def test_only_a_valid_token_is_replaced_and_only_once(database: Database) -> None:
    token, secret = create(database, "read", expires_at=NOW)
    with database.writing() as db, pytest.raises(ConflictError, match="expired"):
        tokens.rotate(db, tokens.named(db, secret), None, overlap=0, now=NOW)
    _, secret = create(database)
    with database.writing() as db:
        tokens.rotate(db, tokens.named(db, secret), None, overlap=1_000, now=NOW)
    with database.writing() as db, pytest.raises(ConflictError, match="replaced already"):
        tokens.rotate(db, tokens.named(db, secret), None, overlap=1_000, now=NOW)
    assert token.replaced_by is None


def test_a_session_has_so_many_valid_tokens_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_OF_SESSION", 2)
    session = world.get_session(world.session())
    with world.database.writing() as db:
        for _ in range(2):
            tokens.issue(db, session, overlap=1_000, now=NOW)
        with pytest.raises(ConflictError, match="maximum"):
            tokens.issue(db, session, now=NOW)
        tokens.issue(db, session, now=NOW + 1_000)


def test_the_last_use_is_noted_at_most_every_ten_minutes(database: Database) -> None:
    token, secret = create(database)
    before = token.updated_at, token.version

    def use(now: int) -> int | None:
        with database.writing() as db:
            noted = callers.verify(db, secret, now).unnoted
            token_uses.note(db, [each.id for each in noted], now=now)
        with database.reading() as db:
            return db.get_one(Token, token.id).last_used_at

    assert use(NOW) == NOW
    assert use(NOW + 600_000) == NOW
    assert use(NOW + 600_001) == NOW + 600_001
    with database.writing() as db:
        token_uses.note(db, [token.id], now=NOW + 600_002)  # another process, a moment later
    with database.reading() as db:
        row = db.get_one(Token, token.id)
    assert row.last_used_at == NOW + 600_001
    assert (row.updated_at, row.version) == before


def test_tokens_that_expire_soon_are_counted_unless_they_were_replaced(database: Database) -> None:
    day = 86_400_000
    for expires_at in (None, NOW, NOW + 31 * day, NOW + 29 * day):
        create(database, expires_at=expires_at)
    _, secret = create(database, expires_at=NOW + 29 * day)
    with database.writing() as db:
        assert token_uses.expiring(db, now=NOW) == 2
        tokens.rotate(db, tokens.named(db, secret), None, overlap=day, now=NOW)
        assert token_uses.expiring(db, now=NOW) == 1


def test_tokens_that_have_ended_are_purged_and_no_others(database: Database) -> None:
    kept, _ = create(database)
    create(database, expires_at=NOW - 1)
    revoked, _ = create(database)
    late, _ = create(database, expires_at=NOW)
    with database.writing() as db:
        tokens.revoke(db, revoked.id, NOW - 1)
    with database.writing() as db:
        assert retention.forget_tokens(db, before=NOW, limit=10) == 2
        assert [token.id for token in tokens.every(db)] == [kept.id, late.id]
