"""Authentication: tokens in the header, the query string or the body, and their scopes."""

from __future__ import annotations

from typing import Any

from flask import g
from werkzeug.exceptions import RequestEntityTooLarge

from service.blueprints import limiting
from service.blueprints.context import crier
from service.blueprints.requests import Request
from service.connections import GivenUpError
from service.core import callers, sessions
from service.core.callers import Caller
from service.core.tokens import Scope
from service.database import now_ms
from service.errors import (
    ForbiddenError,
    InvalidError,
    MediaTypeError,
    SessionTokenError,
    TooLargeError,
    UnauthorisedError,
)
from service.schemas import wordings


def identify(request: Request, scope: Scope, *, by_session: bool) -> None:
    """Identify the caller, the session that the request names, and what it may reach.

    A request may carry a client token, a session token, or both. Each must be valid, and all must
    belong to the same client. `by_session`: a session token is enough.

    Raises UnauthorisedError without a valid token, ForbiddenError without the scope,
    SessionTokenError, UnknownSessionError, InvalidError, and the errors of an unreadable body.
    Tokens outside the body are checked before the body is read; a token in the body before the
    body is parsed or a file in it is stored. A wrong token counts against the caller's address, but
    a valid one is taken from every address. Raises RateLimitError for too many of either.
    """
    try:
        found = _callers(request)
    except UnauthorisedError as error:
        if error.problem:
            limiting.note_failure()
        raise
    g.caller = callers.join(found, scope)
    g.within = _reach(g.caller, scope, by_session=by_session)
    g.session_id = _session(g.caller, _named(request))


def _callers(request: Request) -> list[Caller]:
    """Return the caller of each token of a request; there is at least one."""
    outside = [secret for secret in (_bearer(request), *_query(request, "access_token")) if secret]
    found = [_verify(secret) for secret in dict.fromkeys(outside)]
    request.is_trusted = bool(found)
    if not found:
        _screen(request)
    inside = _inside(request)
    if inside not in {"", *outside}:
        found.append(_verify(inside))
    if not found:
        raise UnauthorisedError
    return found


def _reach(caller: Caller, scope: Scope, *, by_session: bool) -> str | None:
    """Return the session to which a request is limited, None if it is not limited."""
    if caller.may(scope):
        return None
    if caller.session_id and by_session:
        return caller.session_id
    raise SessionTokenError if not caller.scopes else ForbiddenError(scope)


def _screen(request: Request) -> None:
    """Raise UnauthorisedError before parsing a body that carries no valid token."""
    refusal = UnauthorisedError()
    try:
        secrets = request.possible_tokens()
    except (RequestEntityTooLarge, TooLargeError, GivenUpError) as error:
        raise refusal from error
    for secret in secrets:
        try:
            _verify(secret)
        except UnauthorisedError as error:
            refusal = error
        else:
            return
    raise refusal


def _inside(request: Request) -> str:
    """Return the token in the body, empty if the content type is unsupported."""
    try:
        return _credential(request.document, "access_token")
    except MediaTypeError:
        return ""


def _verify(secret: str) -> Caller:
    """Return the caller of a token whose client may make another request."""
    with crier().database.reading() as db:
        # Set before the limit is checked: the log names the client of a refusal.
        caller = g.caller = callers.verify(db, secret, now_ms())
    limiting.admit(caller)
    return caller


def _bearer(request: Request) -> str:
    """Return the token of the Authorization header; ignore schemes other than Bearer."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _query(request: Request, name: str) -> list[str]:
    """Return the non-empty values of a query parameter."""
    return [text for text in request.args.getlist(name) if text]


def _named(request: Request) -> str:
    """Return the id of the session that the body or the query string names."""
    inside = _credential(request.document, "session_id")
    named = {*_query(request, "session_id"), inside} - {""}
    if len(named) > 1:
        raise InvalidError(errors={"session_id": [wordings.CONTRADICTED]})
    return "".join(named)


def _session(caller: Caller, session_id: str) -> str:
    """Return the id of the session to send with, empty for the client's default.

    A session token always selects its own session.
    """
    callers.check_session(caller, session_id)
    if caller.session_id or not session_id:
        return caller.session_id
    with crier().database.reading() as db:
        return sessions.choose(db, caller.client_id, session_id).id


def _credential(document: dict[str, Any], name: str) -> str:
    value = document.get(name) or ""
    if not isinstance(value, str):
        raise InvalidError(errors={name: [wordings.A_TEXT]})
    return value
