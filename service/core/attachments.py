"""The verbs of attachments: the file first, then its row; the row first, then the file."""

from __future__ import annotations

import secrets
import string
import unicodedata
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import PurePath

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import formats, paging
from service.core.storage import Incoming, Storage
from service.errors import InUseError, InvalidError, NotFoundError, ServiceError
from service.models import UNFINISHED, Attachment, Broadcast, BroadcastAttachment, BroadcastStatus

_ALPHABET = string.ascii_uppercase + string.digits
_NAME_LENGTH = 15
_LONGEST_FILENAME = 255

_JOINERS = "\u200c\u200d"
_TAGS = range(0xE0020, 0xE0080)
_BLANKS = f"{string.whitespace}\u00a0{_JOINERS}"


class SharedError(ServiceError):
    """This attachment is shared by all clients: only the operator can delete it."""

    status = 403


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is on the disk and has no row yet; `size` in bytes."""

    name: str
    type: str
    mimetype: str
    filename: str
    size: int


def store(storage: Storage, incoming: Incoming, filename: str) -> Stored:
    """Put an uploaded file in its place; raises InvalidError when empty, MediaTypeError.

    No transaction may be open: a disk takes its time.
    """
    if not incoming.size:
        raise InvalidError(errors={"file": ["This file is empty."]})
    cleaned = _cleaned(filename)
    found = formats.recognise(incoming, cleaned)
    name = "".join(secrets.choice(_ALPHABET) for _ in range(_NAME_LENGTH))
    stored_as = f"{name}.{found.type}"
    incoming.keep(storage.path(stored_as))
    return Stored(name, found.type, found.mimetype, cleaned or stored_as, incoming.size)


def create(
    db: Db, client_id: str | None, stored: Stored, *, within: str | None = None
) -> Attachment:
    """Create the attachment of a stored file; without a client it is shared by all of them.

    `within` is the session whose own token stored it.
    """
    attachment = Attachment(client_id=client_id, session_id=within, **asdict(stored))
    db.add(attachment)
    db.flush()
    return attachment


def get(db: Db, client_id: str, attachment_id: str, *, within: str | None = None) -> Attachment:
    """Return an attachment of the client's or a shared one; raises NotFoundError."""
    found = None
    if ids.is_id(attachment_id):
        found = db.scalar(_visible(client_id, within).where(Attachment.id == attachment_id))
    if found is None:
        raise NotFoundError("attachment", attachment_id)
    return found


def page(
    db: Db, client_id: str, request: paging.PageRequest, *, within: str | None = None
) -> paging.Page[Attachment]:
    """Return one page of a client's attachments and the shared ones."""
    return paging.fetch(db, _visible(client_id, within), Attachment.id, request)


def delete(db: Db, client_id: str, attachment_id: str, *, within: str | None = None) -> Attachment:
    """Delete an attachment's row; its file is the caller's to remove, after the commit.

    Raises NotFoundError, SharedError, and InUseError while an unfinished broadcast needs it.
    """
    attachment = get(db, client_id, attachment_id, within=within)
    if attachment.client_id is None:
        raise SharedError
    _forget_finished(db, attachment_id)
    uses = select(BroadcastAttachment.broadcast_id).where(
        BroadcastAttachment.attachment_id == attachment_id
    )
    refuse_used(db, "attachment", Broadcast.id.in_(uses))
    db.delete(attachment)
    try:
        db.flush()
    except IntegrityError as error:  # a use that came in this very moment
        raise InUseError("A new broadcast needs this attachment.") from error
    return attachment


def visible(client_id: str, within: str | None = None) -> ColumnElement[bool]:
    """Return the condition that an attachment is the client's or shared by all.

    `within` a session, of the client's only those that the session's own token stored.
    """
    mine = Attachment.client_id == client_id
    if within is not None:
        mine = and_(mine, Attachment.session_id == within)
    return or_(mine, Attachment.client_id.is_(None))


def file_of(attachment: Attachment) -> str:
    """Return the name under which an attachment's bytes are stored."""
    return f"{attachment.name}.{attachment.type}"


def sweep(db: Db, storage: Storage, *, now: float, remove: bool = True) -> int:
    """Remove files that a crash left without a row; return how many there were.

    `now` in seconds of Unix time. Without `remove` they are only counted.
    """

    def known(names: Collection[str]) -> set[str]:
        stems = [name.partition(".")[0] for name in names]
        return set(map(file_of, db.scalars(select(Attachment).where(Attachment.name.in_(stems)))))

    return storage.sweep(known, now=now, remove=remove)


def finished() -> ColumnElement[bool]:
    """Return the condition that a broadcast needs neither its session nor its files any more."""
    winding_up = and_(Broadcast.status == BroadcastStatus.CANCELLED, Broadcast.closed_at.is_(None))
    return ~or_(Broadcast.status.in_(UNFINISHED), winding_up)


def refuse_used(db: Db, noun: str, uses: ColumnElement[bool]) -> None:
    """Raise InUseError, which says what to wait for, where there are broadcasts that use it."""
    one = select(Broadcast.id, Broadcast.deleted_at).where(uses)
    # One that was not deleted first: it will need this for longer.
    row = db.execute(one.order_by(Broadcast.deleted_at.is_not(None)).limit(1)).one_or_none()
    if row is None:
        return
    if row.deleted_at is None:
        sentence = f"Broadcast {row.id!r} needs this {noun} until it is completed or deleted."
        raise InUseError(sentence)
    raise InUseError(
        f"Broadcast {row.id!r} was deleted, but is still being ended, and needs this {noun} for"
        " what is being sent of it: try again in some seconds."
    )


def _visible(client_id: str, within: str | None) -> Select[Attachment]:
    return select(Attachment).where(visible(client_id, within))


def _forget_finished(db: Db, attachment_id: str) -> None:
    """Drop the uses that finished broadcasts made of an attachment."""
    done = select(Broadcast.id).where(
        finished(),
        Broadcast.id.in_(
            select(BroadcastAttachment.broadcast_id).where(
                BroadcastAttachment.attachment_id == attachment_id
            )
        ),
    )
    db.execute(
        sql_delete(BroadcastAttachment).where(
            BroadcastAttachment.attachment_id == attachment_id,
            BroadcastAttachment.broadcast_id.in_(done),
        )
    )


def _is_kept(character: str) -> bool:
    """Tell what may stand in a name from what controls a screen or turns text around.

    Joiners and tags are format characters, too: emoji and some scripts are made with them.
    """
    if character in _JOINERS or ord(character) in _TAGS:
        return True
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs"}


def _cleaned(filename: str) -> str:
    """Return a file's name without folders, control characters and whatever turns text around.

    The ending survives when the name has to be cut.
    """
    base = filename.replace("\\", "/").rpartition("/")[2]
    visible = "".join(filter(_is_kept, base)).strip(_BLANKS)
    if set(visible) <= {"."}:
        return ""
    path = PurePath(visible)
    return (
        path.stem[: max(0, _LONGEST_FILENAME - len(path.suffix))] + path.suffix[:_LONGEST_FILENAME]
    )
