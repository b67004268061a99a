"""Who is calling: a token from the header, the query string or the body, and its scope."""

from __future__ import annotations

from typing import Any

from flask import g

from service.blueprints.context import crier
from service.blueprints.requests import Request
from service.core import sessions, tokens
from service.core.tokens import Caller, Scope
from service.database import now_ms
from service.errors import ForbiddenError, InvalidError, MediaTypeError, UnauthorisedError
from service.schemas import wordings


def identify(request: Request, scope: Scope) -> None:
    """Find out who sent a request and which session it names.

    Raises UnauthorisedError without a valid token, ForbiddenError without the scope,
    UnknownSessionError, InvalidError, and what an unreadable body raises. A token outside of the
    body is looked at before the body is read, and one in it before the body is parsed.
    """
    outside = [secret for secret in (_bearer(request), _query(request)) if secret]
    if outside:
        _admit(outside[0], scope)
    elif not request.is_upload:
        _screen(request)
    inside = _inside(request, needed=not outside)
    if len({*outside, inside} - {""}) > 1:
        raise _ambiguous()
    if not outside:
        _admit(inside, scope)
    g.session_id = _session(g.caller, request.document)


def _admit(secret: str, scope: Scope) -> None:
    g.caller = _verify(secret)
    if not g.caller.may(scope):
        raise ForbiddenError(scope)


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


def _inside(request: Request, *, needed: bool) -> str:
    """Return the token in the body; one of a kind that we do not read has none."""
    try:
        return _credential(request.document, "access_token")
    except MediaTypeError:
        if needed:
            raise UnauthorisedError from None
        raise


def _verify(secret: str) -> Caller:
    if not secret:
        raise UnauthorisedError
    with crier().database.reading() as db:
        return tokens.verify(db, secret, now_ms())


def _bearer(request: Request) -> str:
    """Return the token of the header; other schemes than Bearer are none of ours (RFC 6750)."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _ambiguous() -> UnauthorisedError:
    sentence = "This request carries two different tokens: send one."
    return UnauthorisedError(sentence, problem="invalid_request")


def _query(request: Request) -> str:
    said = {token for token in request.args.getlist("access_token") if token}
    if len(said) > 1:
        raise _ambiguous()
    return said.pop() if said else ""


def _session(caller: Caller, document: dict[str, Any]) -> str:
    """Return the id of the session that a body names, once it is known to be the caller's."""
    session_id = _credential(document, "session_id")
    if not session_id:
        return ""
    with crier().database.reading() as db:
        return sessions.choose(db, caller.client_id, session_id).id


def _credential(document: dict[str, Any], name: str) -> str:
    value = document.get(name) or ""
    if not isinstance(value, str):
        raise InvalidError(errors={name: [wordings.A_TEXT]})
    return value
