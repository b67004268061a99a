"""Checks with the provider whether a session can send."""

from __future__ import annotations

import structlog

from service.channels.errors import BlockedError, SendError
from service.channels.steps import Conversation
from service.core import holding, signals
from service.core.accounts import Accounts
from service.core.vault import SealedError
from service.database import Database, milliseconds, now_ms
from service.errors import TooManyQuestionsError
from service.models import Session

log = structlog.get_logger(__name__)

_UNCHANGED = "It is not known whether the account can send, so its status stays the same."


def question(accounts: Accounts, session: Session) -> Conversation[None]:
    """Ask the provider whether a session can send; raises SendError, SealedError."""
    yield from accounts.open(session).check()


def check(accounts: Accounts, database: Database, session: Session) -> str | None:
    """Ask the provider whether a session can send; return the problem, or None.

    If the provider does not answer within `CHECK_TIMEOUT`, nothing changes: deliveries wait longer
    and may still succeed. No transaction is open during the request. If too many questions of the
    client are without an answer already, the provider is not asked.
    """
    try:
        accounts.ask_for(session.client_id, question(accounts, session))
    except TooManyQuestionsError as error:
        return f"{error.message} {_UNCHANGED}"
    except Exception as error:  # noqa: BLE001 - `conclude` says what it means
        return conclude(database, session, error)
    return conclude(database, session, None)


def conclude(database: Database, session: Session, error: Exception | None) -> str | None:
    """Apply what the provider's answer means; return the problem, or None.

    The session is held if it cannot send, and released if it can send again.
    """
    match error:
        case None:
            with database.writing() as db:
                holding.release_session(db, session.id, now=now_ms())
                signals.announce(db)
            return None
        case BlockedError():
            until = None if error.wait is None else now_ms() + milliseconds(error.wait)
            with database.writing() as db:
                holding.replace_hold(db, session.id, error.reason, until=until, now=now_ms())
            return error.reason
        case SendError():
            return f"{error.reason} {_UNCHANGED}"
        case SealedError():
            return f"{error.message} {_UNCHANGED}"
    # A bug in a driver must not affect other sessions.
    log.error("a session cannot be checked", session_id=session.id, exc_info=error)
    return f"The check failed with an internal error ({type(error).__name__}). {_UNCHANGED}"
