"""Tokens: who is calling, and what they may do.

A secret is `crier_` and 160 random bits in hex. Only its SHA-256 is stored: with that much
randomness nothing slower is needed, and the look-up is an index's. Its first characters are kept
so that people can tell their tokens apart; what they leave secret is still 136 bits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.errors import ConflictError, InvalidError, NowhereError, UnauthorisedError
from service.models import Token

_PREFIX = "crier_"
_RANDOM_BYTES = 20
_SHOWN = len(_PREFIX) + 6


class Scope(StrEnum):
    """What a token may do; each includes the ones before it.

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


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request: a client, by one of its tokens."""

    client_id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Tell whether the token has this scope, or one that includes it."""
        return scope in self.scopes


def create(
    db: Session, client_id: str, name: str, scopes: Iterable[str], expires_at: int | None = None
) -> tuple[Token, str]:
    """Create a token and return it with its secret, which nobody can ask for again.

    `expires_at` in milliseconds of Unix time. Raises InvalidError for an unknown scope.
    """
    secret = f"{_PREFIX}{secrets.token_hex(_RANDOM_BYTES)}"
    token = Token(
        client_id=client_id,
        name=name,
        prefix=secret[:_SHOWN],
        digest=_digest(secret),
        scopes=" ".join(_known(scopes)),
        expires_at=expires_at,
    )
    db.add(token)
    db.flush()
    return token, secret


def verify(db: Session, secret: str, now: int) -> Caller:
    """Return whose token this is; raises UnauthorisedError when it is unknown or has ended.

    `now` in milliseconds of Unix time.
    """
    token = db.scalar(select(Token).where(Token.digest == _digest(secret)))
    if token is None:
        raise _refusal("This token is not one of ours.")
    if token.revoked_at is not None:
        raise _refusal("This token was revoked.")
    if token.expires_at is not None and token.expires_at <= now:
        raise _refusal("This token has expired.")
    scopes = (_INCLUDED[Scope(word)] for word in token.scopes.split())
    return Caller(token.client_id, frozenset().union(*scopes))


def revoke(db: Session, token: str, now: int) -> Token:
    """End a token, named by its id, its prefix or its secret; repeating that changes nothing.

    Raises NowhereError, and ConflictError when two tokens share the prefix.
    """
    found = _named(db, token)
    if found.revoked_at is None:
        found.revoked_at = now
        db.flush()
    return found


def every(db: Session, client_id: str | None = None) -> Sequence[Token]:
    """Return the tokens of a client, or of all of them, the oldest first."""
    query = select(Token).order_by(Token.id)
    if client_id is not None:
        query = query.where(Token.client_id == client_id)
    return db.scalars(query).all()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _refusal(sentence: str) -> UnauthorisedError:
    return UnauthorisedError(sentence, problem="invalid_token")


def _known(scopes: Iterable[str]) -> list[Scope]:
    try:
        return sorted({Scope(word) for word in scopes})
    except ValueError as error:
        known = ", ".join(Scope)
        raise InvalidError(errors={"scopes": [f"{error}: the scopes are {known}."]}) from error


def _named(db: Session, name: str) -> Token:
    """Find the one token that `name` means."""
    digest = _digest(name)
    matches = (Token.id == name) | (Token.prefix == name) | (Token.digest == digest)
    found = db.scalars(select(Token).where(matches)).all()
    if not found:
        noun = "token"
        raise NowhereError(noun, name[:_SHOWN])
    if len(found) > 1:
        sentence = "Several tokens begin so: name the one you mean by its id."
        raise ConflictError(sentence)
    return found[0]
