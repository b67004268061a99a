"""Inbound files: files that people send with replies, fetched later and kept as attachments.

A process that fetches a file first moves its `file_due_at` beyond the longest time that a fetch can
take. So no other process fetches it too, but one does if this process dies.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Db

from service.core import attachments, outbox
from service.core.attachments import StoredFile
from service.models import Attachment, EventType, Reply, Session

MOST_ATTEMPTS: Final = 12
"""Attempts to fetch a file: some hours. Providers keep it for minutes (WAHA) to days (Meta)."""

_FIRST_WAIT: Final = 5_000
_LONGEST_WAIT: Final = 3_600_000


class DueFile(NamedTuple):
    """A file that this process fetches, because it moved its `due_at` to this time."""

    reply_id: str
    session: Session
    said: dict[str, str]
    attempts: int
    due_at: int


def is_due(db: Db, *, now: int) -> bool:
    """Return whether a file is due to be fetched. This reads only an index."""
    return db.scalar(select(Reply.id).where(Reply.file_due_at <= now).limit(1)) is not None


def claim(db: Db, *, limit: int, full: Collection[str], lease: int, now: int) -> list[DueFile]:
    """Take the files that are due, but none of the sessions and clients in `full`.

    `lease` is in milliseconds.
    """
    due = (
        select(Reply, Session)
        .join(Session, Session.id == Reply.session_id)
        .where(Reply.file_due_at <= now)
        .where(Reply.session_id.not_in(full), Reply.client_id.not_in(full))
        .order_by(Reply.file_due_at)
        .limit(limit)
        .with_for_update(of=Reply, skip_locked=True)
    )
    found: list[DueFile] = []
    for reply, session in db.execute(due).all():
        reply.file_due_at = now + lease
        reply.file_attempts += 1
        place = (reply.file_attempts, reply.file_due_at)
        found.append(DueFile(reply.id, session, reply.media or {}, *place))
    return found


def keep(db: Db, due: DueFile, stored: StoredFile, *, now: int) -> bool:
    """Make a fetched file the attachment of its reply.

    Return False if the reply is gone or another process has taken the file: then the attachment is
    not needed.
    """
    session = due.session
    attachment = attachments.create(db, session.client_id, stored, within=session.id)
    attachment.reply_id = due.reply_id
    db.flush()
    if not _end(db, due, attachment_id=attachment.id):
        db.delete(attachment)
        return False
    _tell(db, due, attachment.id, None, now)
    return True


class FileFailure(NamedTuple):
    """Why a file was not kept, and whether another attempt would fail, too."""

    reason: str
    is_final: bool


def fail(
    db: Db,
    due: DueFile,
    problem: FileFailure,
    *,
    now: int,
    draw: Callable[[], float] = random.random,
) -> None:
    """Schedule another fetch of a file, with exponential waits and jitter, or give it up."""
    if problem.is_final or due.attempts >= MOST_ATTEMPTS:
        if _end(db, due, file_problem=problem.reason):
            _tell(db, due, None, problem.reason, now)
        return
    ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2**due.attempts)
    later = now + round(ceiling * (0.5 + draw() / 2))
    db.execute(_of(due).values(file_due_at=later), execution_options=_UNSEEN)


def forget(db: Db, reply_ids: Collection[str]) -> None:
    """Delete the attachments of deleted replies, except those that a broadcast uses.

    This deletes only rows: the sweep removes the files on disk.
    """
    mine = select(Attachment).where(Attachment.id.in_(_attachments_of(reply_ids)))
    for attachment in db.scalars(mine.where(attachments.unused())):
        db.delete(attachment)
    kept = update(Attachment).where(Attachment.id.in_(_attachments_of(reply_ids)))
    db.execute(kept.values(reply_id=None), execution_options=_UNSEEN)


_UNSEEN: Final = {"synchronize_session": False}


def _attachments_of(reply_ids: Collection[str]) -> Any:
    mine = select(Reply.attachment_id).where(Reply.id.in_(reply_ids))
    return mine.where(Reply.attachment_id.is_not(None))


def _of(due: DueFile) -> Any:
    """Return an update of the file's reply, unless another process has taken the file."""
    return update(Reply).where(Reply.id == due.reply_id, Reply.file_due_at == due.due_at)


def _end(db: Db, due: DueFile, **values: Any) -> bool:
    """Store the result for a file; return False if another process has taken the file."""
    ended = _of(due).values(file_due_at=None, media=None, **values).returning(Reply.id)
    return db.scalar(ended, execution_options=_UNSEEN) is not None


def _tell(db: Db, due: DueFile, attachment_id: str | None, problem: str | None, now: int) -> None:
    session = due.session
    data = {
        "reply_id": due.reply_id,
        "session_id": session.id,
        "attachment_id": attachment_id,
        "file_problem": problem,
    }
    kind = EventType.REPLY_UPDATED
    outbox.emit(db, session.client_id, kind, session.id, data, sequence=now, now=now)
