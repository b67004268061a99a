"""Who is calling: tokens from the header, the query string and the body, and what they may do."""

from __future__ import annotations

from typing import Any

from flask import g

from service.blueprints.context import crier
from service.blueprints.requests import Request
from service.core import sessions, tokens
from service.core.tokens import Caller, Scope
from service.database import now_ms
from service.errors import (
    ForbiddenError,
    InvalidError,
    MediaTypeError,
    SessionTokenError,
    UnauthorisedError,
)
from service.schemas import wordings


def identify(request: Request, scope: Scope, *, by_session: bool) -> None:
    """Find out who sent a request, which session it names and how far it reaches.

    A request may carry a token of the client, one of a session, or both; each must be valid, and
    all must belong to one client. `by_session` says whether the session's own token is enough.

    Raises UnauthorisedError without a valid token, ForbiddenError without the scope,
    SessionTokenError, UnknownSessionError, InvalidError, and what an unreadable body raises. A
    token outside of the body is looked at before the body is read, and one in it before the body
    is parsed.
    """
    outside = [secret for secret in (_bearer(request), *_query(request, "access_token")) if secret]
    callers = [_verify(secret) for secret in dict.fromkeys(outside)]
    if not callers and not request.is_file_form:
        _screen(request)
    inside = _inside(request)
    if inside not in {"", *outside}:
        callers.append(_verify(inside))
    if not callers:
        raise UnauthorisedError
    g.caller = tokens.join(callers)
    g.within = _reach(g.caller, scope, by_session=by_session)
    g.session_id = _session(g.caller, _named(request))


def _reach(caller: Caller, scope: Scope, *, by_session: bool) -> str | None:
    """Return the session to which a request is limited, None for all that the client has."""
    if caller.may(scope):
        return None
    if caller.session_id and by_session:
        return caller.session_id
    raise SessionTokenError if not caller.scopes else ForbiddenError(scope)


def _screen(request: Request) -> None:
    """Raise UnauthorisedError for a body without a valid token: strangers have nothing parsed."""
    refusal = UnauthorisedError()
    for secret in request.possible_tokens():
        try:
            _verify(secret)
        except UnauthorisedError as error:
            refusal = error
        else:
            return
    raise refusal


def _inside(request: Request) -> str:
    """Return the token in the body; one of a kind that we do not read has none."""
    try:
        return _credential(request.document, "access_token")
    except MediaTypeError:
        return ""


def _verify(secret: str) -> Caller:
    with crier().database.reading() as db:
        return tokens.verify(db, secret, now_ms())


def _bearer(request: Request) -> str:
    """Return the token of the header; other schemes than Bearer are none of ours (RFC 6750)."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _query(request: Request, name: str) -> list[str]:
    """Return what the query string says under a name, apart from empty texts."""
    return [text for text in request.args.getlist(name) if text]


def _named(request: Request) -> str:
    """Return the id of the session that a request names, in its body or its query string."""
    inside = _credential(request.document, "session_id")
    named = {*_query(request, "session_id"), inside} - {""}
    if len(named) > 1:
        raise InvalidError(errors={"session_id": [wordings.CONTRADICTED]})
    return "".join(named)


def _session(caller: Caller, session_id: str) -> str:
    """Return the id of the session to send with, empty for the client's default one.

    A session's own token means that session, be it named or not.
    """
    tokens.check_session(caller, session_id)
    if caller.session_id or not session_id:
        return caller.session_id
    with crier().database.reading() as db:
        return sessions.choose(db, caller.client_id, session_id).id


def _credential(document: dict[str, Any], name: str) -> str:
    value = document.get(name) or ""
    if not isinstance(value, str):
        raise InvalidError(errors={name: [wordings.A_TEXT]})
    return value
