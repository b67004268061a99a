"""Tokens: who is calling, and what they may do.

There are two kinds. A client's token is `crier_` and 160 random bits in hex; a session's own token
is `crier_session_` and as many. Only the SHA-256 is stored: with that much randomness nothing
slower is needed, and an index finds it. The first characters of a client's token are kept so that
people can tell their tokens apart; the rest still has 136 secret bits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from service.errors import ConflictError, InvalidError, NowhereError, UnauthorisedError
from service.models import Client, Session, Token

_PREFIX = "crier_"
_SESSION_PREFIX = "crier_session_"
_RANDOM_BYTES = 20
_SHOWN = len(_PREFIX) + 6


USUAL_DAYS = 365
"""How long a token is valid unless somebody says otherwise."""

_DAY = 86_400_000
_SOON = 30 * _DAY


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
    """Whoever sent a request: a client, by a token of its own, of one of its sessions, or both.

    `scopes` hold for everything of the client. `session_id` is the session whose own token was
    sent, empty without one: it reaches what belongs to that session, and nothing else.
    `expires_at`, in milliseconds of Unix time, is when the first of its tokens expires.
    """

    client_id: str
    scopes: frozenset[Scope]
    session_id: str = ""
    expires_at: int | None = None

    def may(self, scope: Scope) -> bool:
        """Tell whether the client's token has this scope, or one that includes it."""
        return scope in self.scopes


def create(
    db: Db, client_id: str, name: str, scopes: Iterable[str], expires_at: int | None = None
) -> tuple[Token, str]:
    """Create a token and return it with its secret, which nobody can ask for again.

    `expires_at` in milliseconds of Unix time. Raises InvalidError for an unknown scope.
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
    """Return the moment, in milliseconds of Unix time, at which so many days are over."""
    return now + days * _DAY


def expires_soon(expires_at: int | None, *, now: int) -> bool:
    """Tell whether a token has to be replaced within 30 days."""
    return expires_at is not None and expires_at - now < _SOON


def issue(db: Db, session: Session) -> str:
    """Give a session a new token of its own and return it; the one before ends.

    The session's version stays, so that its driver and connections stay too.
    """
    secret = _new(_SESSION_PREFIX)
    db.flush()
    kept = update(Session).where(Session.id == session.id).values(token_digest=digest(secret))
    db.execute(kept.execution_options(synchronize_session=False))
    db.refresh(session)
    return secret


def verify(db: Db, secret: str, now: int) -> Caller:
    """Return whose token this is; raises UnauthorisedError when it is unknown or has ended.

    `now` in milliseconds of Unix time.
    """
    if is_of_session(secret):
        return _verify_session(db, secret)
    token = find(db, secret, now)
    return Caller(token.client_id, included(token.scopes), expires_at=token.expires_at)


def is_of_session(secret: str) -> bool:
    """Tell whether a secret has the form of a session's own token."""
    return secret.startswith(_SESSION_PREFIX)


def find(db: Db, secret: str, now: int) -> Token:
    """Return the client's token of this secret; raises UnauthorisedError unless it is valid."""
    token = db.scalar(select(Token).where(Token.digest == digest(secret)))
    if token is None:
        raise _refusal("This token is not one of ours.")
    _refuse_disabled(db, token.client_id)
    if token.revoked_at is not None:
        raise _refusal("This token was revoked.")
    if token.expires_at is not None and token.expires_at <= now:
        raise _refusal("This token has expired.")
    return token


def included(scopes: str) -> frozenset[Scope]:
    """Return the scopes that a text of them names, with those that they include."""
    return frozenset[Scope]().union(*(_INCLUDED[Scope(word)] for word in scopes.split()))


def join(callers: Sequence[Caller]) -> Caller:
    """Return who sent several tokens together: they may do what each of them may.

    Raises UnauthorisedError unless all belong to one client, and to one session at most.
    """
    if len({caller.client_id for caller in callers}) > 1:
        raise _refusal("These tokens belong to different clients.")
    session_ids = {caller.session_id for caller in callers} - {""}
    if len(session_ids) > 1:
        raise _refusal("These tokens belong to different sessions: send one of them.")
    scopes = frozenset[Scope]().union(*(caller.scopes for caller in callers))
    expiries = [caller.expires_at for caller in callers if caller.expires_at is not None]
    return Caller(callers[0].client_id, scopes, "".join(session_ids), min(expiries, default=None))


def check_session(caller: Caller, session_id: str) -> None:
    """Raise UnauthorisedError where a session's token comes with the id of another session."""
    if caller.session_id and session_id not in {"", caller.session_id}:
        raise _refusal("This token belongs to another session than `session_id` names.")


def revoke(db: Db, token: str, now: int) -> Token:
    """End a token, named by its id, its prefix or its secret; repeating that changes nothing.

    Raises NowhereError, and ConflictError when two tokens share the prefix.
    """
    found = _named(db, token)
    if found.revoked_at is None:
        found.revoked_at = now
        db.flush()
    return found


def every(db: Db, client_id: str | None = None) -> Sequence[Token]:
    """Return the tokens of a client, or of all of them, the oldest first."""
    query = select(Token).order_by(Token.id)
    if client_id is not None:
        query = query.where(Token.client_id == client_id)
    return db.scalars(query).all()


def _verify_session(db: Db, secret: str) -> Caller:
    session = db.scalar(select(Session).where(Session.token_digest == digest(secret)))
    if session is None:
        raise _refusal("This token of a session is not one of ours, or a newer one replaced it.")
    _refuse_disabled(db, session.client_id)
    return Caller(session.client_id, frozenset(), session.id)


def _refuse_disabled(db: Db, client_id: str) -> None:
    if db.get_one(Client, client_id).disabled_at is not None:
        raise _refusal("The operator has disabled this client.")


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
        raise InvalidError(errors={"scopes": [f"{error}: the scopes are {known}."]}) from error


def _named(db: Db, name: str) -> Token:
    """Find the one token that `name` means."""
    matches = (Token.id == name) | (Token.prefix == name) | (Token.digest == digest(name))
    found = db.scalars(select(Token).where(matches)).all()
    if not found:
        noun = "token"
        raise NowhereError(noun, name[:_SHOWN])
    if len(found) > 1:
        sentence = "Several tokens begin so: name the one you mean by its id."
        raise ConflictError(sentence)
    return found[0]
