"""Uses: which broadcasts still need a session or an attachment."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update
from sqlalchemy.orm import Session as Db
from sqlalchemy.orm import aliased

from service.errors import InUseError
from service.models import UNFINISHED, Broadcast, BroadcastAttachment, BroadcastStatus


def hold_files(db: Db, broadcast: Broadcast) -> None:
    """Protect the files of a broadcast from deletion while it needs them."""
    used = {media["attachment_id"] for media in broadcast.content["media"]}
    if rows := [{"broadcast_id": broadcast.id, "attachment_id": each} for each in used]:
        db.execute(insert(BroadcastAttachment), rows)


def release_attachment(db: Db, attachment_id: str) -> None:
    """Delete the references of finished broadcasts; raises InUseError if others need it."""
    uses = BroadcastAttachment.attachment_id == attachment_id
    using = Broadcast.id.in_(select(BroadcastAttachment.broadcast_id).where(uses))
    done = select(Broadcast.id).where(_finished(), using)
    db.execute(
        sql_delete(BroadcastAttachment).where(uses, BroadcastAttachment.broadcast_id.in_(done))
    )
    _refuse(db, "attachment", using)


def release_session(db: Db, session_id: str) -> None:
    """Delete the references of finished broadcasts; raises InUseError if others need it."""
    using = Broadcast.session_id == session_id
    forget = sql_update(Broadcast).where(using, _finished()).values(session_id=None)
    db.execute(forget, execution_options={"synchronize_session": False})
    _refuse(db, "session", using)


def _finished() -> ColumnElement[bool]:
    """Return the condition for broadcasts that no longer need their session and files.

    A way needs them as long as its broadcast may go on by it.
    """
    whole = aliased(Broadcast)
    goes_on = exists().where(whole.id == Broadcast.parent_id, _is_open(whole))
    return ~or_(_is_open(Broadcast), goes_on)


def _is_open(broadcast: Any) -> ColumnElement[bool]:
    winding_up = and_(broadcast.status == BroadcastStatus.CANCELLED, broadcast.closed_at.is_(None))
    return or_(broadcast.status.in_(UNFINISHED), winding_up)


def _refuse(db: Db, noun: str, using: ColumnElement[bool]) -> None:
    """Raise InUseError if broadcasts use an object; it names one of them."""
    known_id = func.coalesce(Broadcast.parent_id, Broadcast.id).label("id")
    one = select(known_id, Broadcast.deleted_at).where(using)
    # Prefer one that was not deleted: it will need the object for longer.
    row = db.execute(one.order_by(Broadcast.deleted_at.is_not(None)).limit(1)).one_or_none()
    if row is None:
        return
    if row.deleted_at is None:
        sentence = f"Broadcast {row.id!r} needs this {noun} until it is completed or deleted."
        raise InUseError(sentence)
    raise InUseError(
        f"Broadcast {row.id!r} was deleted, but needs this {noun} for messages that are still on"
        " their way. Try again in some seconds."
    )
