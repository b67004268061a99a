"""The request context: the parts of the service, the caller, and the session in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from flask import Response, after_this_request, current_app, g, request

from service.core import entries
from service.core.callers import Caller
from service.errors import NotFoundError
from service.parts import Crier

EXTENSION = "crier"


def crier() -> Crier:
    """Return the parts of the service that handles this request."""
    return cast("Crier", current_app.extensions[EXTENSION])


def caller() -> Caller:
    """Return the caller of this request. The route must require a scope."""
    return cast("Caller", g.caller)


def known_caller() -> Caller | None:
    """Return the caller of the last valid token of this request, None if there is none yet."""
    return cast("Caller | None", g.get("caller"))


def named_session() -> str:
    """Return the id of the session that this request names, empty for the default."""
    return cast("str", g.session_id)


def within() -> str | None:
    """Return the id of the only session that this request may reach, None for all."""
    return cast("str | None", g.within)


def reachable(session_id: str) -> str:
    """Return the session id of a path; raises NotFoundError if this request may not reach it."""
    if within() not in {None, session_id}:
        raise NotFoundError("session", session_id)
    return session_id


def searched(recipient: str) -> tuple[str, ...]:
    """Return the recipients that a query may mean, read by the caller's numbering."""
    return entries.searched(recipient, caller().numbering)


def when_sent(act: Callable[[], object]) -> None:
    """Call a function once the answer to this request has been sent."""

    @after_this_request
    def act_at_end(response: Response) -> Response:
        response.call_on_close(act)
        return response


def address(path: str) -> str:
    """Return the public URL of a path of this service."""
    base = crier().settings.public_url or request.root_url
    return f"{base.rstrip('/')}/{path.lstrip('/')}"
