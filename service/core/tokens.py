"""Tokens: what clients and their sessions authenticate with.

A client token is `crier_` and 160 random bits in hex; a session token is `crier_session_` and as
many. Only the SHA-256 is stored: with that much randomness no slower hash is needed, and an index
finds it. The first characters are kept, so that people can tell their tokens apart. The rest still
has 136 secret bits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from sqlalchemy import BindParameter, ColumnElement, bindparam, or_, select, update
from sqlalchemy.orm import Session as Db

from service.core import owned, paging
from service.errors import ConflictError, InvalidError, NowhereError, UnauthorisedError
from service.models import Client, Session, Token

_PREFIX = "crier_"
_SESSION_PREFIX = "crier_session_"
_RANDOM_BYTES = 20
_SHOWN_BYTES = 6

MOST_OF_SESSION: Final = 20
"""Valid tokens of a session at a time."""

USUAL_DAYS: Final = 365
"""Default lifetime of a token in days."""

MOST_DAYS: Final = 36_500

USUAL_OVERLAP: Final = 86_400
"""Seconds for which a replaced token stays valid by default."""

MOST_OVERLAP: Final = 30 * 86_400

_DAY = 86_400_000
_SOON = 30 * _DAY

_WITH_ITS_CLIENT: Final = (
    select(Token, Client)
    .join(Client, Client.id == Token.client_id)
    .where(Token.digest == bindparam("digest"))
)
"""The statement of each request, made once."""

_FORMER = "A newer token has replaced this one."


class Scope(StrEnum):
    """What a token may do. Each scope includes the ones before it.

    `read`: every GET. `send`: also broadcasts, attachments, contacts and groups. `admin`: also
    sessions, and with them the credentials of sending accounts.
    """

    READ = "read"
    SEND = "send"
    ADMIN = "admin"


_INCLUDED = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.SEND: frozenset({Scope.READ, Scope.SEND}),
    Scope.ADMIN: frozenset(Scope),
}


def create(
    db: Db, client_id: str, name: str, scopes: Iterable[str], expires_at: int | None = None
) -> tuple[Token, str]:
    """Create a client's token; return it with its secret, which is not stored.

    `expires_at` is in Unix milliseconds. Raises InvalidError for an unknown scope.
    """
    return _add(db, _PREFIX, Token(client_id=client_id, name=name, expires_at=expires_at), scopes)


def _check_room(db: Db, session_id: str | None, now: int) -> None:
    """Raise ConflictError if a session has very many tokens; `core.usages` counts the client's."""
    mine = select(Token).where(Token.session_id == session_id, is_live(now))
    if session_id and paging.count(db, mine) >= MOST_OF_SESSION:
        raise ConflictError(
            f"This session has {MOST_OF_SESSION} valid tokens, the maximum. Revoke one first."
        )


def issue(
    db: Db, session: Session, expires_at: int | None = None, *, overlap: int = 0, now: int
) -> str:
    """Create a new session token and return its secret; the others end after the overlap.

    `overlap` is in milliseconds. The session's version stays the same, so that its driver and
    connections are kept.
    """
    db.flush()
    _check_room(db, session.id, now)
    made = Token(client_id=session.client_id, session_id=session.id, name=session.name)
    made.expires_at = expires_at
    token, secret = _add(db, _SESSION_PREFIX, made, ())
    former = select(Token).where(Token.session_id == session.id, Token.id != token.id)
    for each in db.scalars(former.where(is_live(now))):
        _replace(each, token, until=now + overlap)
    db.flush()
    return secret


def rotate(
    db: Db, token: Token, expires_at: int | None, *, overlap: int, now: int
) -> tuple[Token, str]:
    """Create a token that may do the same; the former ends after `overlap` milliseconds.

    Return the new one with its secret. Raises ConflictError if the former was replaced already or
    has ended.
    """
    if _problem(token, now) or token.replaced_by:
        raise ConflictError(_problem(token, now) or "This token was replaced already.")
    _check_room(db, token.session_id, now)
    kind = _SESSION_PREFIX if token.session_id else _PREFIX
    made = Token(client_id=token.client_id, session_id=token.session_id, name=token.name)
    made.expires_at = expires_at
    new, secret = _add(db, kind, made, token.scopes.split())
    _replace(token, new, until=now + overlap)
    db.flush()
    return new, secret


def in_days(days: int = USUAL_DAYS, *, now: int) -> int:
    """Return the time in `days` days, in Unix milliseconds."""
    return now + days * _DAY


def expires_soon(expires_at: int | None, *, now: int) -> bool:
    """Return whether a token expires within 30 days."""
    return expires_at is not None and expires_at < soon(now=now)


def soon(*, now: int) -> int:
    """Return the time before which a token expires soon: in 30 days."""
    return now + _SOON


def is_of_session(secret: str) -> bool:
    """Tell whether a secret has the form of a session's own token."""
    return secret.startswith(_SESSION_PREFIX)


def find(db: Db, secret: str, now: int) -> tuple[Token, Client]:
    """Return the token of this secret and its client; raises UnauthorisedError unless it is valid.

    `now` is in Unix milliseconds.
    """
    found = db.execute(_WITH_ITS_CLIENT, {"digest": digest(secret)}).one_or_none()
    if found is None:
        raise refusal("This token does not exist.")
    token, client = found
    if client.disabled_at is not None:
        raise refusal("The operator has disabled this client.")
    if problem := _problem(token, now):
        raise refusal(problem)
    return token, client


def included(scopes: str) -> frozenset[Scope]:
    """Return the scopes that a text of them names, with those that they include."""
    return frozenset[Scope]().union(*(_INCLUDED[Scope(word)] for word in scopes.split()))


def is_live(now: int | BindParameter[int]) -> ColumnElement[bool]:
    """Return the condition of tokens that are neither revoked nor expired."""
    return Token.revoked_at.is_(None) & or_(Token.expires_at.is_(None), Token.expires_at > now)


def status(token: Token, *, now: int) -> str:
    """Return `valid`, `expiring`, `expired` or `revoked`."""
    if token.revoked_at is not None:
        return "revoked"
    if _problem(token, now):
        return "expired"
    return "expiring" if expires_soon(token.expires_at, now=now) else "valid"


def revoke(db: Db, token: str, now: int) -> Token:
    """Revoke a token by its id, its prefix or its secret. Repeating it changes nothing.

    Raises NowhereError, and ConflictError if two tokens share the prefix.
    """
    found = named(db, token)
    if found.revoked_at is None:
        found.revoked_at = now
        db.flush()
    return found


def revoke_of_session(db: Db, session_id: str, now: int) -> None:
    """Revoke the tokens of a session."""
    mine = update(Token).where(Token.session_id == session_id, Token.revoked_at.is_(None))
    db.execute(mine.values(revoked_at=now).execution_options(synchronize_session=False))


def get(db: Db, client_id: str, token_id: str) -> Token:
    """Return a client's token; raises NotFoundError."""
    return owned.get(db, Token, client_id, token_id)


def every(db: Db, client_id: str | None = None) -> Sequence[Token]:
    """Return the tokens of a client, or of all clients, oldest first."""
    query = select(Token).order_by(Token.id)
    if client_id is not None:
        query = query.where(Token.client_id == client_id)
    return db.scalars(query).all()


def _add(db: Db, prefix: str, token: Token, scopes: Iterable[str]) -> tuple[Token, str]:
    secret = f"{prefix}{secrets.token_hex(_RANDOM_BYTES)}"
    token.prefix, token.digest = secret[: len(prefix) + _SHOWN_BYTES], digest(secret)
    token.scopes = " ".join(_known(scopes))
    db.add(token)
    db.flush()
    return token, secret


def _replace(token: Token, new: Token, *, until: int) -> None:
    token.replaced_by = new.id
    token.expires_at = min(until, token.expires_at or until)


def _problem(token: Token, now: int) -> str | None:
    """Say why a token is not valid any more."""
    if token.revoked_at is not None:
        return "This token was revoked."
    if token.expires_at is not None and token.expires_at <= now:
        return _FORMER if token.replaced_by else "This token has expired."
    return None


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def refusal(sentence: str) -> UnauthorisedError:
    """Return the error of a request whose token is not accepted."""
    return UnauthorisedError(sentence, problem="invalid_token")


def _known(scopes: Iterable[str]) -> list[Scope]:
    try:
        return sorted({Scope(word) for word in scopes})
    except ValueError as error:
        known = ", ".join(Scope)
        raise InvalidError(errors={"scopes": [f"{error}. Use one of: {known}."]}) from error


def named(db: Db, name: str) -> Token:
    """Return the token of an id, a prefix or a secret.

    Raises NowhereError, and ConflictError if two tokens share the prefix.
    """
    matches = (Token.id == name) | (Token.prefix == name) | (Token.digest == digest(name))
    found = db.scalars(select(Token).where(matches)).all()
    if not found:
        noun = "token"
        raise NowhereError(noun, name[: len(_PREFIX) + _SHOWN_BYTES])
    if len(found) > 1:
        sentence = "Several tokens begin like this. Use the token's id."
        raise ConflictError(sentence)
    return found[0]
