"""The verbs of sign-ins: how a browser comes into the console, stays there, and leaves.

The secret of a sign-in is in a cookie, that of a link in its address; the database keeps only the
SHA-256 of either.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session as Db

from service.core import audit, token_uses, tokens
from service.core.callers import Caller
from service.core.numbering import INTERNATIONAL, Numbering
from service.core.tokens import Scope
from service.errors import UnauthorisedError
from service.models import Client, SignIn, Token

LASTS: Final = 12 * 3_600_000
"""Milliseconds for which a browser stays signed in, whatever it does."""

LINK_LASTS: Final = 3_600_000
"""Milliseconds for which a link may be used."""

_RANDOM_BYTES = 32
_OF_SESSION = "This is a session's own token: sign in with a token of the client."
_LINK = "This link was used before, or it is older than an hour: ask for a new one."


@dataclass(frozen=True, slots=True)
class ConsoleUser:
    """Whoever uses the console: the client, what may be done, and until when in milliseconds."""

    client_id: str
    client: str
    token: str | None
    scopes: frozenset[Scope]
    expires_at: int
    secret: str
    numbering: Numbering = INTERNATIONAL
    token_id: str | None = None
    limits: Mapping[str, int] | None = None

    @property
    def caller(self) -> Caller:
        """The same as the API knows it."""
        return Caller(
            self.client_id,
            self.scopes,
            numbering=self.numbering,
            token_id=self.token_id,
            limits=self.limits,
        )

    def may(self, scope: Scope) -> bool:
        """Return whether this visitor has a scope, or one that includes it."""
        return scope in self.scopes


def by_token(db: Db, token: str, *, now: int) -> str:
    """Sign a browser in by a client's token; return the secret of its cookie.

    Raises UnauthorisedError.
    """
    found, _client = tokens.find(db, token, now)
    if found.session_id:
        raise UnauthorisedError(_OF_SESSION)
    token_uses.note(db, [found.id], now=now)
    expires_at = min(now + LASTS, found.expires_at or now + LASTS)
    return _add(db, found.client_id, found.scopes, now, expires_at, token_id=found.id)


def by_link(db: Db, link: str, *, now: int) -> str:
    """Sign a browser in by a link, which ends with that; return the secret of its cookie.

    Raises UnauthorisedError.
    """
    used = delete(SignIn).where(
        SignIn.digest == tokens.digest(link), SignIn.is_link, SignIn.expires_at > now
    )
    row = db.execute(used.returning(SignIn.client_id, SignIn.scopes)).one_or_none()
    if row is None:
        raise UnauthorisedError(_LINK)
    return _add(db, row.client_id, row.scopes, now, now + LASTS)


def refuse(db: Db, secret: str, reason: str) -> None:
    """Enter a refused sign-in into the audit log, of the token's client if there is one."""
    token = db.scalar(select(Token).where(Token.digest == tokens.digest(secret)))
    client_id, token_id = (token.client_id, token.id) if token else (None, None)
    audit.refuse(db, "sign_in.refuse", reason, client_id=client_id, token_id=token_id)


def link(db: Db, client_id: str, scope: Scope, *, now: int) -> str:
    """Make a link that signs one browser in; return its secret."""
    return _add(db, client_id, scope, now, now + LINK_LASTS, is_link=True)


def find(db: Db, secret: str, *, now: int) -> ConsoleUser | None:
    """Return whose cookie this is, None when it has ended, or its token or its client has."""
    row = db.execute(_FIND, {"digest": tokens.digest(secret), "now": now}).one_or_none()
    if row is None or row.disabled_at or (row.SignIn.token_id and row.token is None):
        return None
    found, scopes = row.SignIn, tokens.included(row.SignIn.scopes)
    meant = Numbering.restore(row.numbering)
    return ConsoleUser(
        found.client_id,
        row.name,
        row.token,
        scopes,
        found.expires_at,
        secret,
        meant,
        found.token_id,
        row.limits,
    )


# Built once: each page of the console asks, and building it takes longer than the query.
_FIND: Final = (
    select(
        SignIn,
        Client.name,
        Client.disabled_at,
        Client.numbering,
        Client.limits,
        Token.name.label("token"),
    )
    .join(Client, Client.id == SignIn.client_id)
    .outerjoin(Token, (Token.id == SignIn.token_id) & tokens.is_live(bindparam("now")))
    .where(
        SignIn.digest == bindparam("digest"),
        ~SignIn.is_link,
        SignIn.expires_at > bindparam("now"),
    )
)


def end(db: Db, secret: str) -> None:
    """Sign a browser out."""
    db.execute(delete(SignIn).where(SignIn.digest == tokens.digest(secret)))


def end_all(db: Db, secret: str) -> None:
    """Sign out all browsers that came in as this one did: by its token, or by the client's links.

    Links that nobody has used yet end with the latter.
    """
    mine = select(SignIn.client_id, SignIn.token_id).where(SignIn.digest == tokens.digest(secret))
    row = db.execute(mine).one_or_none()
    if row is not None:
        alike = SignIn.token_id.is_not_distinct_from(row.token_id)
        db.execute(delete(SignIn).where(SignIn.client_id == row.client_id, alike))


def _add(  # noqa: PLR0913 - a row has that many columns to set
    db: Db,
    client_id: str,
    scopes: str,
    now: int,
    expires_at: int,
    *,
    token_id: str | None = None,
    is_link: bool = False,
) -> str:
    """Store a sign-in, drop those that have expired, and return its secret."""
    db.execute(delete(SignIn).where(SignIn.expires_at <= now))
    secret = secrets.token_urlsafe(_RANDOM_BYTES)
    row = SignIn(
        client_id=client_id,
        token_id=token_id,
        digest=tokens.digest(secret),
        scopes=scopes,
        is_link=is_link,
        created_at=now,
        expires_at=expires_at,
    )
    db.add(row)
    db.flush()
    return secret
