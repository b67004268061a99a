"""Sign-ins: by a token, by a link, and their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session as Db

from service.core import clients, sign_ins, tokens
from service.core.tokens import Scope
from service.database import Database
from service.errors import UnauthorisedError
from service.models import Session

NOW = 1_800_000_000_000
HOUR = 3_600_000


@pytest.fixture
def db(database: Database) -> Iterator[Db]:
    with database.writing() as db:
        yield db


@pytest.fixture
def client_id(db: Db) -> str:
    return clients.create(db, "Acme").id


def by_new_token(db: Db, client_id: str, scope: Scope = Scope.SEND) -> tuple[str, str]:
    token, secret = tokens.create(db, client_id, "office", [scope], NOW + 2 * HOUR)
    return token.id, sign_ins.by_token(db, secret, now=NOW)


def test_a_browser_may_do_what_its_token_may_and_no_longer_than_that(
    db: Db, client_id: str
) -> None:
    _, secret = by_new_token(db, client_id)
    visitor = sign_ins.find(db, secret, now=NOW)
    assert visitor is not None
    assert (visitor.client, visitor.token) == ("Acme", "office")
    assert visitor.may(Scope.SEND)
    assert not visitor.may(Scope.ADMIN)
    assert visitor.expires_at == NOW + 2 * HOUR
    assert sign_ins.find(db, secret, now=NOW + 2 * HOUR) is None


def test_it_ends_with_its_token_with_its_client_and_by_signing_out(db: Db, client_id: str) -> None:
    token_id, first = by_new_token(db, client_id)
    _, second = by_new_token(db, client_id)
    _, third = by_new_token(db, client_id)
    tokens.revoke(db, token_id, NOW)
    assert sign_ins.find(db, first, now=NOW) is None
    sign_ins.end(db, second)
    assert sign_ins.find(db, second, now=NOW) is None
    assert sign_ins.find(db, third, now=NOW) is not None
    clients.disable(db, "Acme", now=NOW)
    assert sign_ins.find(db, third, now=NOW) is None


def test_signing_out_everywhere_ends_what_came_in_the_same_way_alone(
    db: Db, client_id: str
) -> None:
    _, secret = tokens.create(db, client_id, "office", [Scope.READ])
    here, there = (sign_ins.by_token(db, secret, now=NOW) for _ in range(2))
    _, other = by_new_token(db, client_id)
    sign_ins.end_all(db, here)
    found = [sign_ins.find(db, each, now=NOW) is not None for each in (here, there, other)]
    assert found == [False, False, True]


def test_a_link_lets_one_browser_in_within_an_hour(db: Db, client_id: str) -> None:
    link = sign_ins.link(db, client_id, Scope.ADMIN, now=NOW)
    assert sign_ins.find(db, link, now=NOW) is None  # it is no cookie
    visitor = sign_ins.find(db, sign_ins.by_link(db, link, now=NOW), now=NOW)
    assert visitor is not None
    assert visitor.may(Scope.ADMIN)
    for used, now in ((link, NOW), (sign_ins.link(db, client_id, Scope.READ, now=NOW), NOW + HOUR)):
        with pytest.raises(UnauthorisedError, match="older than an hour"):
            sign_ins.by_link(db, used, now=now)


def of_a_session(db: Db, client_id: str) -> str:
    """Return the token of a new session."""
    session = Session(client_id=client_id, name="main", channel="sandbox", settings={})
    db.add(session)
    return tokens.issue(db, session, now=NOW)


def test_neither_a_sessions_token_nor_a_cookie_signs_anybody_in(db: Db, client_id: str) -> None:
    _, secret = by_new_token(db, client_id)
    with pytest.raises(UnauthorisedError, match="session's own token"):
        sign_ins.by_token(db, of_a_session(db, client_id), now=NOW)
    with pytest.raises(UnauthorisedError):
        sign_ins.by_token(db, secret, now=NOW)
    with pytest.raises(UnauthorisedError):
        sign_ins.by_link(db, secret, now=NOW)
