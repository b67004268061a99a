"""The turn that settles replies: finds their broadcasts and sends confirmations."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from service.channels.content import Content
from service.channels.errors import SendError
from service.channels.steps import Conversation
from service.config import Settings
from service.core import clients, links, settled_replies
from service.core.accounts import Accounts
from service.core.settled_replies import SettledReply
from service.database import Database, now_ms
from service.dispatch.upkeep.talks import Talks
from service.models import Session

log = structlog.get_logger(__name__)

_BATCH = 200


@dataclass(slots=True)
class Replies:
    """Settles replies, many in one transaction, and confirms opt-outs if the client wants that.

    The process that keeps a session's link settles its replies: no other can send a confirmation.

    A confirmation is tried once: its result is logged, and nothing depends on it.
    """

    settings: Settings
    database: Database
    accounts: Accounts
    _talks: Talks = field(init=False)

    def __post_init__(self) -> None:
        """Begin without any confirmation under way."""
        self._talks = Talks(self.accounts)

    def turn(self) -> float:
        """Settle waiting replies; return the seconds until the next turn."""
        is_full = self._settle()
        for talk in self._talks.turn():
            if talk.error is not None:
                _note(talk.token, talk.error)
        return 0.0 if is_full or len(self._talks) else self.settings.poll_interval

    def close(self) -> None:
        """Break off the confirmations that are under way."""
        self._talks.close()

    def _settle(self) -> bool:
        """Settle some replies; return whether there may be more.

        If nothing has come, that is a query and no write: SQLite has one writer at a time.
        """
        with self.database.reading() as db:
            if not settled_replies.is_waiting(db):
                return False
        with self.database.writing() as db:
            elsewhere = links.kept(db) - self.accounts.channels.context.links.kept()
            settled = settled_replies.settle(db, _BATCH, elsewhere=elsewhere, now=now_ms())
        for each in settled:
            if each.confirmation:
                self._confirm(each, each.confirmation)
        return len(settled) == _BATCH

    def _confirm(self, reply: SettledReply, text: str) -> None:
        with self.database.reading() as db:
            session = db.get(Session, reply.session_id)
            may_send = session is not None and clients.is_enabled(db, session.client_id)
        if session is not None and may_send and not session.reason:
            conversation = self._confirmation(session, reply, text)
            self._talks.add(session.client_id, reply, conversation)

    def _confirmation(self, session: Session, reply: SettledReply, text: str) -> Conversation[None]:
        driver = self.accounts.open(session)
        for number, part in enumerate(driver.plan(Content(text=text))):
            yield from driver.send(reply.recipient, driver.prepare(part), f"{reply.id}.{number}")


def _note(reply: SettledReply, error: Exception) -> None:
    if isinstance(error, SendError):
        log.warning("a confirmation was not sent", reply_id=reply.id, reason=error.reason)
    else:
        log.error("a confirmation was not sent", reply_id=reply.id, exc_info=error)
