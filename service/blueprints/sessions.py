"""Routes of sessions: the sending accounts of a client."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session as Db

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier, reachable, within
from service.core import keys, sessions, token_uses, tokens
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.core.vault import SealedError
from service.database import milliseconds, now_ms
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
from service.schemas.tokens import NewSessionTokenSchema

blueprint = Blueprint("sessions", __name__, description="Accounts to send messages from")


_CHECKED = "Session checked successfully!"


def _said_of_check(session: Shown) -> str:
    """Return the message for the result of a check."""
    if session.status != SessionStatus.READY:
        return "Session checked. It cannot send now; `reason` says why."
    if session.problem:
        return "Session checked. Whether it can send is not known; `problem` says why."
    return _CHECKED


@blueprint.post("/session", "createSession")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(NewSessionSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(201, NewlyMadeSessionSchema, "Session created successfully!")
def create(body: dict[str, Any]) -> Shown:
    """Create a sending account and ask its provider whether it can send.

    The first session is the default. Its secrets are encrypted at rest and never returned. The
    answer shows the session token, `access_token`, once.
    """
    parts = crier()
    with parts.database.writing() as db:
        session = sessions.create(
            db, caller().client_id, body, channels=parts.accounts.channels, vault=parts.vault
        )
        secret = tokens.issue(db, session, tokens.in_days(now=now_ms()), now=now_ms())
    return Shown(_checked(session), access_token=secret)


@blueprint.post("/session/<id:session_id>/token", "createSessionToken")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(NewSessionTokenSchema, required=False)
@blueprint.raises(ConflictError)
@blueprint.answers(201, SessionTokenSchema, "Session token created successfully!")
def create_token(body: dict[str, Any], session_id: str) -> Shown:
    """Replace the session's tokens by a new one. The answer shows it once.

    The previous tokens end at once, or after `overlap` seconds. `GET /token` lists them all. Send
    the new one as `access_token`, with the session's id as `session_id`, in the body or the query
    string. It sends through this session, and reads and manages its broadcasts, deliveries,
    opt-outs and files. It reaches no contact, no group and no other session.
    """
    now, overlap = now_ms(), milliseconds(body["overlap"])
    with crier().database.writing() as db:
        session = sessions.get(db, caller().client_id, session_id)
        expires_at = tokens.in_days(body["days"], now=now)
        secret = tokens.issue(db, session, expires_at, overlap=overlap, now=now)
    return Shown(session, access_token=secret, has_token=True)


@blueprint.post("/session/<id:session_id>/check", "checkSession")
@blueprint.scope(Scope.ADMIN, by_session=True)
@blueprint.answers(200, CheckedSessionSchema, _CHECKED, told=_said_of_check)
def check(session_id: str) -> Shown:
    """Ask the provider whether this session can send; `problem` says why not.

    A blocked session that can send again continues at once.
    """
    with crier().database.reading() as db:
        session = sessions.get(db, caller().client_id, reachable(session_id))
    return _checked(session)


@blueprint.get("/session", "listSessions")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.pages()
@blueprint.answers(200, SessionSchema, "Session fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Shown]:
    """Fetch all sessions, oldest first."""
    with crier().database.reading() as db:
        found = sessions.page(db, caller().client_id, page, within=within())
        having = token_uses.sessions_with(db, [each.id for each in found.items], now=now_ms())
    return found.map(lambda session: _shown(session, having))


@blueprint.get("/session/<id:session_id>", "getSession")
@blueprint.scope(Scope.READ, by_session=True)
@blueprint.answers(200, SessionSchema, "Session fetched successfully!")
def show(session_id: str) -> Shown:
    """Fetch one session and its status."""
    with crier().database.reading() as db:
        session = sessions.get(db, caller().client_id, reachable(session_id))
        return _shown(session, _having_token(db, session))


@blueprint.put("/session/<id:session_id>", "updateSession")
@blueprint.scope(Scope.ADMIN)
@blueprint.takes(SessionChangeSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(200, SessionSchema, "Session updated successfully!")
def update(body: dict[str, Any], session_id: str) -> Shown:
    """Change a session. Omitted fields and omitted secrets stay.

    If you change a setting to another server, send all secrets again. After any change, a blocked
    session is tried again.
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
        having = _having_token(db, session)
    return _shown(session, having)


@blueprint.delete("/session/<id:session_id>", "deleteSession")
@blueprint.scope(Scope.ADMIN)
@blueprint.raises(InUseError)
@blueprint.answers(200, SessionSchema, "Session deleted successfully!")
def delete(session_id: str) -> Shown:
    """Delete a session, unless an unfinished broadcast needs it."""
    with crier().database.writing() as db:
        having = token_uses.sessions_with(db, [session_id], now=now_ms())
        return _shown(sessions.delete(db, caller().client_id, session_id), having)


def _checked(session: Session) -> Shown:
    """Check a session with its provider and return it."""
    parts = crier()
    problem = checks.check(parts.accounts, parts.database, session)
    with parts.database.reading() as db:
        session = sessions.get(db, session.client_id, session.id)
        return _shown(session, _having_token(db, session), problem=problem)


def _having_token(db: Db, session: Session) -> set[str]:
    return token_uses.sessions_with(db, [session.id], now=now_ms())


def _shown(session: Session, having_token: set[str], **added: Any) -> Shown:
    """Return a session, as blocked if this process cannot decrypt its secrets."""
    if not keys.can_open(session, crier().vault):
        added |= {"status": SessionStatus.BLOCKED, "throttled_until": None}
        added |= {"reason": SealedError().message}
    return Shown(session, has_token=session.id in having_token, **added)
