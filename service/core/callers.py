"""Callers: who makes a request, by one token or by several, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session as Db

from service.core import token_uses, tokens
from service.core.numbering import INTERNATIONAL, Numbering
from service.core.token_uses import NotedToken
from service.core.tokens import Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request, identified by a client token, a session token, or both.

    `scopes` are those of the client token and apply to all objects of the client. `session_id` is
    the session of the session token, empty without one: that token reaches only this session's
    objects. `token_id` is the token that allows the request. `expires_at`, in Unix milliseconds,
    is when the first of the tokens expires. `numbering` says how the client means its numbers, and
    `limits` are its own, if it has any. `unnoted` are the tokens whose use is to be noted, with
    what was noted last.
    """

    client_id: str
    scopes: frozenset[Scope]
    session_id: str = ""
    expires_at: int | None = None
    numbering: Numbering = INTERNATIONAL
    token_id: str | None = None
    limits: Mapping[str, int] | None = None
    unnoted: tuple[NotedToken, ...] = ()

    def may(self, scope: Scope) -> bool:
        """Return whether the client token has this scope, or one that includes it."""
        return scope in self.scopes


def verify(db: Db, secret: str, now: int) -> Caller:
    """Return the caller of a token; raises UnauthorisedError if it is unknown or has ended.

    `now` is in Unix milliseconds.
    """
    token, client = tokens.find(db, secret, now)
    return Caller(
        client.id,
        tokens.included(token.scopes),
        token.session_id or "",
        token.expires_at,
        Numbering.restore(client.numbering),
        token.id,
        client.limits,
        token_uses.unnoted(token, now=now),
    )


def join(callers: Sequence[Caller], scope: Scope) -> Caller:
    """Merge the callers of several tokens; the result has the rights of all of them.

    `scope` is the scope that the request needs. The merged caller's token is the client token with
    that scope, or else the session token. Raises UnauthorisedError unless all belong to one client
    and at most one session.
    """
    if len({caller.client_id for caller in callers}) > 1:
        raise tokens.refusal("These tokens belong to different clients.")
    session_ids = {caller.session_id for caller in callers} - {""}
    if len(session_ids) > 1:
        raise tokens.refusal("These tokens belong to different sessions. Send only one of them.")
    expiries = [caller.expires_at for caller in callers if caller.expires_at is not None]
    allowing = [caller for caller in callers if caller.may(scope)]
    allowing = allowing or [caller for caller in callers if caller.session_id] or [*callers]
    return replace(
        callers[0],
        scopes=frozenset[Scope]().union(*(caller.scopes for caller in callers)),
        session_id="".join(session_ids),
        expires_at=min(expiries, default=None),
        token_id=allowing[0].token_id,
        unnoted=tuple(token for caller in callers for token in caller.unnoted),
    )


def check_session(caller: Caller, session_id: str) -> None:
    """Raise UnauthorisedError if a session token comes with another session's id."""
    if caller.session_id and session_id not in {"", caller.session_id}:
        raise tokens.refusal("This token belongs to another session than `session_id`.")
