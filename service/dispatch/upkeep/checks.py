"""Whether a session could send, by the provider's own word."""

from __future__ import annotations

import structlog

from service.channels.base import BlockedError, SendError
from service.core import holding
from service.core.accounts import Accounts
from service.core.vault import SealedError
from service.database import Database, milliseconds, now_ms
from service.models import Session

log = structlog.get_logger(__name__)

_UNCHANGED = "This does not tell whether the account can send, so its status stays as it was."


def check(accounts: Accounts, database: Database, session: Session) -> str | None:
    """Ask the provider whether a session could send; return what is wrong in words, or None.

    What it says is written on the session: one that cannot send is held, one that was blocked and
    can send again is released. A provider that does not answer, within `CHECK_TIMEOUT`, has said
    nothing and changes nothing: to hold a session for that would keep back what may well go out, as
    a delivery waits longer and is tried again. No transaction is open while the provider is asked.
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
    except Exception as error:  # a defect of a driver is its session's problem, nobody else's
        log.exception("a session cannot be checked", session_id=session.id)
        return f"The service met a defect of its own ({type(error).__name__}). {_UNCHANGED}"
    with database.writing() as db:
        holding.release_session(db, session.id, now=now_ms())
    return None
