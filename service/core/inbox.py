"""The inbox: what a verified webhook says is stored, and what cannot wait is done."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from service.channels.webhooks import Preference, Report, TemplateNotice
from service.core import approved, holding, identities, opt_outs, people, receipts, replies
from service.core.deliveries import opted_out
from service.core.deliveries.opted_out import OptOutOwner
from service.core.revocations import ClaimKey
from service.models import Broadcast, BroadcastStatus, OptOutSource, Session


def store(db: Db, session: Session, report: Report, *, now: int) -> list[ClaimKey]:
    """Store a report on a session; return the claims that opt-outs in it revoke.

    Receipts and replies are applied later, by a dispatcher. Opt-outs hold at once. Raises
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
        _heed_template(db, session, notice, now)
    if report.health:
        health = {**(session.health or {}), **report.health}
        known = update(Session).where(Session.id == session.id).values(health=health)
        db.execute(known, execution_options={"synchronize_session": False})
    return revoked


def _prefer(
    db: Db, session: Session, preferences: Iterable[Preference], now: int
) -> list[ClaimKey]:
    """Heed what people chose in the provider's app."""
    whose, revoked = OptOutOwner(session.client_id, session.id), list[ClaimKey]()
    for each in preferences:
        forms = identities.forms(db, session.client_id, each.forms)
        if each.stops:
            revoked += opt_outs.stop(db, whose, forms, OptOutSource.PREFERENCE, now=now)
        else:
            opt_outs.forget(db, whose, forms)
    return revoked


def _heed_template(db: Db, session: Session, notice: TemplateNotice, now: int) -> None:
    """Remember the state of a template; pause its broadcasts when it cannot be used any more."""
    approved.note(db, session.id, notice, now=now)
    if not notice.blocks:
        return
    template = Broadcast.content["template"]
    sending = select(Broadcast.id).where(
        Broadcast.session_id == session.id,
        Broadcast.closed_at.is_(None),
        Broadcast.status == BroadcastStatus.SENDING,
        template["name"].as_string() == notice.name,
        template["language"].as_string() == notice.language,
    )
    said = f" ({notice.reason})" if notice.reason else ""
    reason = f"WhatsApp says of the template {notice.name!r}: {notice.status.lower()}{said}."
    for broadcast_id in db.scalars(sending).all():
        holding.hold_broadcast(db, broadcast_id, reason, now=now)
