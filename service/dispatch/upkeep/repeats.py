"""Repeats: asks drivers whether a dead process's messages under way may be sent again."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy import RowMapping, select
from sqlalchemy.orm import undefer

from service.channels.errors import SendError
from service.core.accounts import Accounts
from service.core.deliveries.progress import unsent
from service.database import OUT_OF_REACH, Database
from service.models import Broadcast, Delivery, DeliveryStatus, OnUncertain, Session

log = structlog.get_logger(__name__)


class Repeats:
    """The answers of one sweep's turn.

    If the answer is unknown, it is no. A session that could not be asked is not asked again, and is
    logged once, however many claims it has: a driver may ask its provider, which takes up to
    `CHECK_TIMEOUT`.
    """

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database = database
        self._accounts = accounts
        self._silent: set[str] = set()

    def may_be_offered(self, orphan: RowMapping) -> bool:
        """Return whether a dead dispatcher's claim (`claim_id`, `broadcast_id`) may be sent again.

        It may if the client chose so, or if a repeat is harmless for every unsent part to every
        recipient: nobody knows where the process died.
        """
        wanted = select(Broadcast).where(Broadcast.id == orphan["broadcast_id"])
        with self._database.reading() as db:
            broadcast = db.scalars(wanted.options(undefer(Broadcast.content))).one()
            session = db.get(Session, broadcast.session_id) if broadcast.session_id else None
        if session is None or session.id in self._silent:
            return False
        if session.on_uncertain == OnUncertain.RESEND:
            return True
        try:
            return self._are_harmless(session, broadcast, orphan["claim_id"])
        except SendError as error:
            log.warning("a repeat cannot be judged", session_id=session.id, reason=error.reason)
        except OUT_OF_REACH:
            raise
        except Exception:  # whom one session was sending to must not leave all others waiting
            log.exception("a repeat cannot be judged", session_id=session.id)
        self._silent.add(session.id)
        return False

    def _are_harmless(self, session: Session, broadcast: Broadcast, claim_id: str) -> bool:
        driver = self._accounts.open(session)
        parts = self._accounts.worded(broadcast, driver).parts
        left = {
            number
            for message_ids in self._taken(broadcast.id, claim_id)
            for number in unsent((message_ids or "").split(), len(parts))
        }
        return all(self._accounts.ask(driver.may_repeat(parts[number])) for number in sorted(left))

    def _taken(self, broadcast_id: str, claim_id: str) -> Sequence[str | None]:
        """Return the distinct message ids already stored for the claim's deliveries.

        Most have none yet, so there are few values.
        """
        claimed = select(Delivery.message_ids).where(
            Delivery.claim_id == claim_id,
            Delivery.broadcast_id == broadcast_id,
            Delivery.status == DeliveryStatus.SENDING,
        )
        with self._database.reading() as db:
            return db.scalars(claimed.distinct()).all()
