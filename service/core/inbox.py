"""The inbox: stores the reports of verified webhooks, and applies urgent ones at once."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import update
from sqlalchemy.orm import Session as Db

from service.channels.webhooks import Preference, Report
from service.core import identities, opt_outs, people, receipts, replies, template_holds
from service.core.deliveries import opted_out
from service.core.deliveries.opted_out import OptOutOwner
from service.core.inbox_sessions import InboxSession
from service.core.revocations import ClaimKey
from service.models import OptOutSource, Session


def store(db: Db, session: InboxSession, report: Report, *, now: int) -> list[ClaimKey]:
    """Store a report on a session; return the claims that opt-outs in it revoke.

    Receipts and replies are applied later, by a dispatcher. Opt-outs apply at once. Raises
    TooManyReportsError.
    """
    if report.preferences or report.moves:
        opted_out.changing(db)
    receipts.store(db, session.id, report.words, now=now)
    revoked = people.learn(db, session.client_id, report.people, now=now)
    revoked += people.move(db, session.client_id, report.moves, now=now)
    revoked += replies.receive(db, session, report.inbound, now=now)
    revoked += _prefer(db, session, report.preferences, now)
    for notice in report.templates:
        template_holds.heed(db, session.id, notice, now=now)
    if report.health:
        health = {**(session.health or {}), **report.health}
        known = update(Session).where(Session.id == session.id).values(health=health)
        db.execute(known, execution_options={"synchronize_session": False})
    return revoked


def only_adds(session: InboxSession, report: Report) -> bool:
    """Return whether `store` only adds rows, which need not be stored together.

    If some of them are not stored, the provider repeats them all. A repeated receipt changes
    nothing, and a repeated reply is dropped.
    """
    news = (report.preferences, report.people, report.moves, report.templates, report.health)
    return not any(news) and not replies.asks(session, report.inbound)


def _prefer(
    db: Db, session: InboxSession, preferences: Iterable[Preference], now: int
) -> list[ClaimKey]:
    """Apply the preferences that people chose in the provider's app."""
    whose, revoked = OptOutOwner(session.client_id, session.id), list[ClaimKey]()
    for each in preferences:
        forms = identities.forms(db, session.client_id, each.forms)
        chosen_at = min(each.at or now, now)
        if each.stops:
            revoked += opt_outs.stop(db, whose, forms, OptOutSource.PREFERENCE, now=chosen_at)
        else:
            # Webhooks come in any order: a later wish to stop counts.
            opt_outs.forget(db, whose, forms, until=chosen_at)
    return revoked
