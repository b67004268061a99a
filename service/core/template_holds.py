"""Template holds: broadcasts that wait until their template can be used again.

A broadcast that is paused for its template and for nothing else goes on by itself when WhatsApp
says so: by webhook, or in the list of templates, which is fetched every hour while one waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session as Db

from service.channels.webhooks import TemplateNotice
from service.core import approved, holding, outbox, signals, ways
from service.core.deliveries import due_ways
from service.models import Broadcast, BroadcastStatus, Client, EventType, Session, Template

TEMPLATE: Final = "template"
"""The `waits_for` of a broadcast whose template cannot be used."""

_GOES_ON: Final = "It goes on by itself when WhatsApp says that the template can be used again."

_OF_BROADCAST: Final = Broadcast.content["template"]


def heed(db: Db, session_id: str, notice: TemplateNotice, *, now: int) -> None:
    """Remember what a provider said of a template; its broadcasts are paused or go on."""
    if not approved.note(db, session_id, notice, now=now):
        return
    if notice.blocks:
        _hold_all(db, session_id, notice, now)
    elif notice.status:
        release(db, session_id, now=now)


def hold(db: Db, broadcast_id: str, reason: str, *, now: int) -> None:
    """Pause a broadcast whose template was refused just now as paused or disabled."""
    name, language = (_OF_BROADCAST[key].as_string() for key in ("name", "language"))
    refused = select(Broadcast.session_id, name, language)
    row = db.execute(refused.where(Broadcast.id == broadcast_id)).one()
    if all(row):
        session_id, *key = row
        notice = TemplateNotice(key[0], key[1], status="PAUSED", reason=reason)
        approved.note(db, session_id, notice, now=now)
    _hold(db, broadcast_id, reason, now)


def release(db: Db, session_id: str, *, now: int) -> None:
    """Let the broadcasts of a session go on that waited for a template which can be used."""
    usable = exists().where(
        Template.session_id == Broadcast.session_id,
        Template.name == _OF_BROADCAST["name"].as_string(),
        Template.language == _OF_BROADCAST["language"].as_string(),
        Template.status.in_(approved.USABLE),
    )
    is_disabled = exists().where(Client.id == Broadcast.client_id, Client.disabled_at.is_not(None))
    mine = select(_WHOLE_ID).where(_waits(), Broadcast.session_id == session_id)
    for broadcast_id in db.scalars(mine.where(usable, ~is_disabled)).all():
        _resume(db, db.get_one(Broadcast, broadcast_id, populate_existing=True), now)


def _resume(db: Db, broadcast: Broadcast, now: int) -> None:
    due_ways.hasten(db, broadcast, after=broadcast.expires_at - 1, now=now)
    waiting = update(Broadcast).where(Broadcast.id == broadcast.id, _IS_HELD)
    values = {"status": BroadcastStatus.SENDING, "reason": None, "waits_for": None}
    resumed = waiting.values(**values, updated_at=now, version=Broadcast.version + 1)
    if db.scalar(resumed.returning(Broadcast.id), execution_options=_UNSEEN):
        db.refresh(broadcast)
        ways.align(db, broadcast)
        outbox.tell_broadcast(db, broadcast, EventType.BROADCAST_RESUMED, now=now)
        signals.announce(db, broadcast, *ways.of(db, broadcast))


def outdated(db: Db, *, now: int) -> Sequence[Session]:
    """Return the sessions with broadcasts that wait, whose templates were fetched long ago."""
    old = or_(Session.templates_at.is_(None), Session.templates_at < now - approved.FRESH)
    waiting = exists().where(_waits(), Broadcast.session_id == Session.id)
    return db.scalars(select(Session).where(old, waiting)).all()


_UNSEEN: Final = {"synchronize_session": False}


_WHOLE_ID: Final = func.coalesce(Broadcast.parent_id, Broadcast.id)
"""The broadcast that waits, also where one of its ways has the template."""

_IS_HELD: Final = and_(
    Broadcast.closed_at.is_(None),
    Broadcast.status == BroadcastStatus.PAUSED,
    Broadcast.waits_for.in_((TEMPLATE, holding.WAY)),
)


def _waits() -> ColumnElement[bool]:
    """Return the condition for broadcasts, or ways, whose template keeps a broadcast waiting."""
    held = select(Broadcast.id).where(_IS_HELD).correlate(None)
    return and_(Broadcast.waits_for == TEMPLATE, _WHOLE_ID.in_(held))


def _hold_all(db: Db, session_id: str, notice: TemplateNotice, now: int) -> None:
    sending = select(Broadcast.id).where(
        Broadcast.session_id == session_id,
        Broadcast.closed_at.is_(None),
        Broadcast.status == BroadcastStatus.SENDING,
        _OF_BROADCAST["name"].as_string() == notice.name,
        _OF_BROADCAST["language"].as_string() == notice.language,
    )
    said = f" ({notice.reason})" if notice.reason else ""
    reason = f"WhatsApp says of the template {notice.name!r}: {notice.status.lower()}{said}."
    for broadcast_id in db.scalars(sending).all():
        _hold(db, broadcast_id, reason, now)


def _hold(db: Db, broadcast_id: str, reason: str, now: int) -> None:
    said = f"{reason} {_GOES_ON}"
    holding.hold_broadcast(db, broadcast_id, said, waits_for=TEMPLATE, now=now)
