"""The turn in which replies are settled: what they answer, and what is answered to them."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from service.channels.content import Content
from service.channels.errors import SendError
from service.config import Settings
from service.core import replies
from service.core.accounts import Accounts
from service.core.replies import SettledReply
from service.database import Database, now_ms
from service.models import Session

log = structlog.get_logger(__name__)

_BATCH = 200


@dataclass(slots=True)
class Replies:
    """Settles replies, many in a transaction, and confirms opt-outs where the client wants it.

    A confirmation is tried once: what becomes of it is logged and nothing depends on it.
    """

    settings: Settings
    database: Database
    accounts: Accounts

    def turn(self) -> float:
        """Settle what has come; return the seconds until it is worth looking again.

        If nothing has come, that is a query and no write: SQLite has one writer at a time.
        """
        with self.database.reading() as db:
            if not replies.is_waiting(db):
                return self.settings.poll_interval
        with self.database.writing() as db:
            settled = replies.settle(db, _BATCH, now=now_ms())
        for each in settled:
            if each.confirmation:
                self._confirm(each, each.confirmation)
        return 0.0 if len(settled) == _BATCH else self.settings.poll_interval

    def _confirm(self, reply: SettledReply, text: str) -> None:
        with self.database.reading() as db:
            session = db.get(Session, reply.session_id)
        if session is None or session.reason:
            return
        try:
            driver = self.accounts.open(session)
            for number, part in enumerate(driver.plan(Content(text=text))):
                prepared = driver.prepare(part)
                self.accounts.ask(driver.send(reply.recipient, prepared, f"{reply.id}.{number}"))
        except SendError as error:
            log.warning("a confirmation was not sent", reply_id=reply.id, reason=error.reason)
        except Exception:
            log.exception("a confirmation was not sent", reply_id=reply.id)
