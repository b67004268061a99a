"""Tokens: authenticate callers and limit what they may do.

There are two kinds. A client token is `crier_` and 160 random bits in hex; a session token is
`crier_session_` and as many. Only the SHA-256 is stored: with that much randomness no slower hash
is needed, and an index finds it. The first characters of a client token are kept, so that people
can tell their tokens apart. The rest still has 136 secret bits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from service.core.numbering import INTERNATIONAL, Numbering
from service.errors import ConflictError, InvalidError, NowhereError, UnauthorisedError
from service.models import Client, Session, Token

_PREFIX = "crier_"
_SESSION_PREFIX = "crier_session_"
_RANDOM_BYTES = 20
_SHOWN = len(_PREFIX) + 6


USUAL_DAYS = 365
"""Default lifetime of a token in days."""

_DAY = 86_400_000
_SOON = 30 * _DAY


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


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request, identified by a client token, a session token, or both.

    `scopes` are those of the client token and apply to all objects of the client. `session_id` is
    the session of the session token, empty without one: that token reaches only this session's
    objects. `token_id` is the token that allows the request. `expires_at`, in Unix milliseconds,
    is when the first of the tokens expires. `numbering` says how the client means its numbers, and
    `limits` are its own, if it has any.
    """

    client_id: str
    scopes: frozenset[Scope]
    session_id: str = ""
    expires_at: int | None = None
    numbering: Numbering = INTERNATIONAL
    token_id: str | None = None
    limits: Mapping[str, int] | None = None

    def may(self, scope: Scope) -> bool:
        """Return whether the client token has this scope, or one that includes it."""
        return scope in self.scopes


def create(
    db: Db, client_id: str, name: str, scopes: Iterable[str], expires_at: int | None = None
) -> tuple[Token, str]:
    """Create a token; return it with its secret, which is not stored.

    `expires_at` is in Unix milliseconds. Raises InvalidError for an unknown scope.
    """
    secret = _new(_PREFIX)
    token = Token(
        client_id=client_id,
        name=name,
        prefix=secret[:_SHOWN],
        digest=digest(secret),
        scopes=" ".join(_known(scopes)),
        expires_at=expires_at,
    )
    db.add(token)
    db.flush()
    return token, secret


def in_days(days: int = USUAL_DAYS, *, now: int) -> int:
    """Return the time in `days` days, in Unix milliseconds."""
    return now + days * _DAY


def expires_soon(expires_at: int | None, *, now: int) -> bool:
    """Return whether a token expires within 30 days."""
    return expires_at is not None and expires_at - now < _SOON


def issue(db: Db, session: Session) -> str:
    """Create a new session token and return it; the previous one ends.

    The session's version stays the same, so that its driver and connections are kept.
    """
    secret = _new(_SESSION_PREFIX)
    db.flush()
    kept = update(Session).where(Session.id == session.id).values(token_digest=digest(secret))
    db.execute(kept.execution_options(synchronize_session=False))
    db.refresh(session)
    return secret


def verify(db: Db, secret: str, now: int) -> Caller:
    """Return the caller of a token; raises UnauthorisedError if it is unknown or has ended.

    `now` is in Unix milliseconds.
    """
    if is_of_session(secret):
        return _verify_session(db, secret)
    token = find(db, secret, now)
    scopes = included(token.scopes)
    client = _enabled(db, token.client_id)
    return _caller(client, scopes, expires_at=token.expires_at, token_id=token.id)


def is_of_session(secret: str) -> bool:
    """Tell whether a secret has the form of a session's own token."""
    return secret.startswith(_SESSION_PREFIX)


def find(db: Db, secret: str, now: int) -> Token:
    """Return the client's token of this secret; raises UnauthorisedError unless it is valid."""
    token = db.scalar(select(Token).where(Token.digest == digest(secret)))
    if token is None:
        raise _refusal("This token does not exist.")
    _enabled(db, token.client_id)
    if token.revoked_at is not None:
        raise _refusal("This token was revoked.")
    if token.expires_at is not None and token.expires_at <= now:
        raise _refusal("This token has expired.")
    return token


def included(scopes: str) -> frozenset[Scope]:
    """Return the scopes that a text of them names, with those that they include."""
    return frozenset[Scope]().union(*(_INCLUDED[Scope(word)] for word in scopes.split()))


def join(callers: Sequence[Caller]) -> Caller:
    """Merge the callers of several tokens: the result may do what each of them may.

    Raises UnauthorisedError unless all belong to one client and at most one session.
    """
    if len({caller.client_id for caller in callers}) > 1:
        raise _refusal("These tokens belong to different clients.")
    session_ids = {caller.session_id for caller in callers} - {""}
    if len(session_ids) > 1:
        raise _refusal("These tokens belong to different sessions. Send only one of them.")
    scopes = frozenset[Scope]().union(*(caller.scopes for caller in callers))
    expiries = [caller.expires_at for caller in callers if caller.expires_at is not None]
    expires_at = min(expiries, default=None)
    session_id = "".join(session_ids)
    return replace(callers[0], scopes=scopes, session_id=session_id, expires_at=expires_at)


def used(callers: Sequence[Caller], scope: Scope) -> str | None:
    """Return the id of the token that allows a request: the client's, or else the session's."""
    allowing = [each for each in callers if each.may(scope)] or callers
    return allowing[-1].token_id


def check_session(caller: Caller, session_id: str) -> None:
    """Raise UnauthorisedError if a session token comes with another session's id."""
    if caller.session_id and session_id not in {"", caller.session_id}:
        raise _refusal("This token belongs to another session than `session_id`.")


def revoke(db: Db, token: str, now: int) -> Token:
    """Revoke a token by its id, its prefix or its secret. Repeating it changes nothing.

    Raises NowhereError, and ConflictError if two tokens share the prefix.
    """
    found = _named(db, token)
    if found.revoked_at is None:
        found.revoked_at = now
        db.flush()
    return found


def every(db: Db, client_id: str | None = None) -> Sequence[Token]:
    """Return the tokens of a client, or of all clients, oldest first."""
    query = select(Token).order_by(Token.id)
    if client_id is not None:
        query = query.where(Token.client_id == client_id)
    return db.scalars(query).all()


def _verify_session(db: Db, secret: str) -> Caller:
    session = db.scalar(select(Session).where(Session.token_digest == digest(secret)))
    if session is None:
        raise _refusal("This session token does not exist, or a newer one has replaced it.")
    return _caller(_enabled(db, session.client_id), frozenset(), session_id=session.id)


def _caller(client: Client, scopes: frozenset[Scope], **of_token: Any) -> Caller:
    meant = Numbering.restore(client.numbering)
    return Caller(client.id, scopes, numbering=meant, limits=client.limits, **of_token)


def _enabled(db: Db, client_id: str) -> Client:
    client = db.get_one(Client, client_id)
    if client.disabled_at is not None:
        raise _refusal("The operator has disabled this client.")
    return client


def _new(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(_RANDOM_BYTES)}"


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _refusal(sentence: str) -> UnauthorisedError:
    return UnauthorisedError(sentence, problem="invalid_token")


def _known(scopes: Iterable[str]) -> list[Scope]:
    try:
        return sorted({Scope(word) for word in scopes})
    except ValueError as error:
        known = ", ".join(Scope)
        raise InvalidError(errors={"scopes": [f"{error}. Use one of: {known}."]}) from error


def _named(db: Db, name: str) -> Token:
    """Find the token that `name` identifies."""
    matches = (Token.id == name) | (Token.prefix == name) | (Token.digest == digest(name))
    found = db.scalars(select(Token).where(matches)).all()
    if not found:
        noun = "token"
        raise NowhereError(noun, name[:_SHOWN])
    if len(found) > 1:
        sentence = "Several tokens begin like this. Use the token's id."
        raise ConflictError(sentence)
    return found[0]
