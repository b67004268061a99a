"""Checks with the provider whether a session can send."""

from __future__ import annotations

import structlog

from service.channels.errors import BlockedError, SendError
from service.core import holding
from service.core.accounts import Accounts
from service.core.vault import SealedError
from service.database import Database, milliseconds, now_ms
from service.models import Session

log = structlog.get_logger(__name__)

_UNCHANGED = "It is not known whether the account can send, so its status stays the same."


def check(accounts: Accounts, database: Database, session: Session) -> str | None:
    """Ask the provider whether a session can send; return the problem, or None.

    The answer changes the session: it is held if it cannot send, and released if it can send again.
    If the provider does not answer within `CHECK_TIMEOUT`, nothing changes: deliveries wait longer
    and may still succeed. No transaction is open during the request.
    """
    try:
        accounts.ask(accounts.open(session).check())
    except BlockedError as error:
        until = None if error.wait is None else now_ms() + milliseconds(error.wait)
        with database.writing() as db:
            holding.replace_hold(db, session.id, error.reason, until=until, now=now_ms())
        return error.reason
    except SendError as error:
        return f"{error.reason} {_UNCHANGED}"
    except SealedError as error:
        return f"{error.message} {_UNCHANGED}"
    except Exception as error:  # a bug in a driver must not affect other sessions
        log.exception("a session cannot be checked", session_id=session.id)
        return f"The check failed with an internal error ({type(error).__name__}). {_UNCHANGED}"
    with database.writing() as db:
        holding.release_session(db, session.id, now=now_ms())
    return None
