"""Routes about sessions: the sending accounts of a client."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, reachable, within
from service.core import keys, sessions, tokens
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.core.vault import SealedError
from service.dispatch.upkeep import checks
from service.errors import ConflictError, InUseError
from service.models import Session, SessionStatus
from service.schemas.base import Shown
from service.schemas.sessions import (
    CheckedSessionSchema,
    NewlyMadeSessionSchema,
    NewSessionSchema,
    SessionChangeSchema,
    SessionSchema,
    SessionTokenSchema,
)

blueprint = Blueprint("sessions", __name__, description="The accounts that messages are sent from")


_CHECKED = "Session checked successfully!"


def _said_of_check(session: Shown) -> str:
    """Return what a check came to: one that found the session unable to send is no success."""
    if session.status != SessionStatus.READY:
        return "Session checked: it cannot send now, `reason` says why."
    if session.problem:
        return "Session checked, but it is not known whether it can send: `problem` says why."
    return _CHECKED


@blueprint.post("/session", "createSession")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(NewSessionSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(201, NewlyMadeSessionSchema, "Session created successfully!")
def create(body: dict[str, Any]) -> Shown:
    """Store a sending account and ask its provider whether it could send; the first is the default.

    The secrets among its settings are encrypted at rest and never come back. The session's own
    token, `access_token`, is shown only this once.
    """
    parts = crier()
    with parts.database.writing() as db:
        session = sessions.create(
            db, caller().client_id, body, channels=parts.accounts.channels, vault=parts.vault
        )
        secret = tokens.issue(db, session)
    return Shown(_checked(session), access_token=secret)


@blueprint.post("/session/<id:session_id>/token", "createSessionToken")
@blueprint.scope(Scope.ADMIN)
@blueprint.answers(201, SessionTokenSchema, "Session token created successfully!")
def create_token(session_id: str) -> Shown:
    """Make a new token for this session, shown only this once; the one before ends.

    It goes with the session's id, as `session_id` and `access_token`, into the body or the query
    string. It sends through this session, and reads and manages what belongs to it: its
    broadcasts, their deliveries, its opt-outs and the files that it stored. It reaches no contact
    and no group, and nothing of another session.
    """
    with crier().database.writing() as db:
        session = sessions.get(db, caller().client_id, session_id)
        return Shown(session, access_token=tokens.issue(db, session))


@blueprint.post("/session/<id:session_id>/check", "checkSession")
@blueprint.scope(Scope.ADMIN, by_session=True)
@blueprint.answers(200, CheckedSessionSchema, _CHECKED, told=_said_of_check)
def check(session_id: str) -> Shown:
    """Ask the provider whether this session could send; `problem` says in words what is wrong.

    A blocked session that could send again does so at once.
    """
    with crier().database.reading() as db:
        session = sessions.get(db, caller().client_id, reachable(session_id))
    return _checked(session)


@blueprint.get("/session", "listSessions")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages()
@blueprint.answers(200, SessionSchema, "Session fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Shown]:
    """Fetch all sessions, the oldest first."""
    with crier().database.reading() as db:
        return sessions.page(db, caller().client_id, page, within=within()).map(_shown)


@blueprint.get("/session/<id:session_id>", "getSession")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.answers(200, SessionSchema, "Session fetched successfully!")
def show(session_id: str) -> Shown:
    """Fetch one session and whether it can send."""
    with crier().database.reading() as db:
        return _shown(sessions.get(db, caller().client_id, reachable(session_id)))


@blueprint.put("/session/<id:session_id>", "updateSession")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(SessionChangeSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(200, SessionSchema, "Session updated successfully!")
def update(body: dict[str, Any], session_id: str) -> Shown:
    """Change a session; fields, and secrets among the settings, that are left out stay.

    A setting that names another server than before needs all secrets again. A session that was
    blocked is tried again after any change.
    """
    with crier().database.writing() as db:
        session = sessions.update(
            db,
            caller().client_id,
            session_id,
            body,
            channels=crier().accounts.channels,
            vault=crier().vault,
        )
    crier().dispatcher.wake()
    return _shown(session)


@blueprint.delete("/session/<id:session_id>", "deleteSession")
@blueprint.scope(Scope.ADMIN)
@blueprint.raises(InUseError)
@blueprint.answers(200, SessionSchema, "Session deleted successfully!")
def delete(session_id: str) -> Shown:
    """Delete a session that no unfinished broadcast needs."""
    with crier().database.writing() as db:
        return _shown(sessions.delete(db, caller().client_id, session_id))


def _checked(session: Session) -> Shown:
    """Return a session as it is after its provider was asked about it."""
    parts = crier()
    problem = checks.check(parts.accounts, parts.database, session)
    parts.dispatcher.wake()
    with parts.database.reading() as db:
        return _shown(sessions.get(db, session.client_id, session.id), problem=problem)


def _shown(session: Session, **added: Any) -> Shown:
    """Return a session; one whose secrets this process cannot open is blocked here."""
    if not keys.can_open(session, crier().vault):
        added |= {"status": SessionStatus.BLOCKED, "throttled_until": None}
        added |= {"reason": SealedError().message}
    return Shown(session, **added)
