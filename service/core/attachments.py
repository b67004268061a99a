"""Attachments. Create the file before its row; delete the row before its file."""

from __future__ import annotations

import secrets
import string
import unicodedata
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import PurePath

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import formats, paging, uses
from service.core.storage import Incoming, Storage
from service.errors import InUseError, InvalidError, NotFoundError, ServiceError
from service.models import Attachment, BroadcastAttachment, Reply

_ALPHABET = string.ascii_uppercase + string.digits
_NAME_LENGTH = 15
_LONGEST_FILENAME = 255

_JOINERS = "\u200c\u200d"
_TAGS = range(0xE0020, 0xE0080)
_BLANKS = f"{string.whitespace}\u00a0{_JOINERS}"


class SharedError(ServiceError):
    """All clients share this attachment. Only the operator can delete it."""

    status = 403


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on disk that has no row yet. `size` is in bytes."""

    name: str
    type: str
    mimetype: str
    filename: str
    size: int

    @property
    def file(self) -> str:
        """Return the file name on disk."""
        return f"{self.name}.{self.type}"


def store(storage: Storage, incoming: Incoming, filename: str) -> StoredFile:
    """Move an uploaded file to its final place; raises InvalidError, MediaTypeError.

    Do not call it inside a transaction: disks are slow.
    """
    if not incoming.size:
        raise InvalidError(errors={"file": ["This file is empty."]})
    cleaned = _cleaned(filename)
    found = formats.recognise(incoming, cleaned)
    name = "".join(secrets.choice(_ALPHABET) for _ in range(_NAME_LENGTH))
    stored_as = f"{name}.{found.type}"
    incoming.keep(storage.path(stored_as))
    return StoredFile(name, found.type, found.mimetype, cleaned or stored_as, incoming.size)


def create(
    db: Db, client_id: str | None, stored: StoredFile, *, within: str | None = None
) -> Attachment:
    """Create the attachment of a stored file. Without a client, all clients share it.

    `within` is the session whose token uploaded it.
    """
    attachment = Attachment(client_id=client_id, session_id=within, **asdict(stored))
    db.add(attachment)
    db.flush()
    return attachment


def get(db: Db, client_id: str, attachment_id: str, *, within: str | None = None) -> Attachment:
    """Return a client's attachment or a shared one; raises NotFoundError."""
    found = None
    if ids.is_id(attachment_id):
        found = db.scalar(_visible(client_id, within).where(Attachment.id == attachment_id))
    if found is None:
        raise NotFoundError("attachment", attachment_id)
    return found


def page(
    db: Db, client_id: str, request: paging.PageRequest, *, within: str | None = None
) -> paging.Page[Attachment]:
    """Return one page of a client's and the shared attachments."""
    return paging.fetch(db, _visible(client_id, within), Attachment.id, request)


def delete(db: Db, client_id: str, attachment_id: str, *, within: str | None = None) -> Attachment:
    """Delete an attachment's row. The caller removes the file after the commit.

    Raises NotFoundError, SharedError, and InUseError while an unfinished broadcast needs it.
    """
    attachment = get(db, client_id, attachment_id, within=within)
    if attachment.client_id is None:
        raise SharedError
    uses.release_attachment(db, attachment_id)
    if attachment.reply_id:
        mine = update(Reply).where(Reply.id == attachment.reply_id).values(attachment_id=None)
        db.execute(mine, execution_options={"synchronize_session": False})
    db.delete(attachment)
    try:
        db.flush()
    except IntegrityError as error:  # a broadcast was created just now
        raise InUseError("A new broadcast needs this attachment.") from error
    return attachment


def visible(client_id: str, within: str | None = None) -> ColumnElement[bool]:
    """Return the condition for a client's attachments and the shared ones.

    With `within`, only those of the client's that this session's token uploaded.
    """
    mine = Attachment.client_id == client_id
    if within is not None:
        mine = and_(mine, Attachment.session_id == within)
    return or_(mine, Attachment.client_id.is_(None))


def unused() -> ColumnElement[bool]:
    """Return the condition for attachments that no broadcast uses, not even a finished one."""
    return ~exists().where(BroadcastAttachment.attachment_id == Attachment.id)


def file_of(attachment: Attachment) -> str:
    """Return the file name of an attachment on disk."""
    return f"{attachment.name}.{attachment.type}"


def some(db: Db, client_id: str, attachment_ids: Collection[str]) -> dict[str, Attachment]:
    """Return those attachments that the client can see, by id."""
    found = db.scalars(_visible(client_id, None).where(Attachment.id.in_(attachment_ids)))
    return {each.id: each for each in found}


def sweep(db: Db, storage: Storage, *, now: float, remove: bool = True) -> int:
    """Remove files without a row, which a crash left; return their number.

    `now` is in Unix seconds. With `remove=False`, they are only counted.
    """

    def known(names: Collection[str]) -> set[str]:
        stems = [name.partition(".")[0] for name in names]
        return set(map(file_of, db.scalars(select(Attachment).where(Attachment.name.in_(stems)))))

    return storage.sweep(known, now=now, remove=remove)


def _visible(client_id: str, within: str | None) -> Select[Attachment]:
    return select(Attachment).where(visible(client_id, within))


def _is_kept(character: str) -> bool:
    """Return whether a file name may contain a character: not a control or text direction one.

    Joiners and tags are allowed, although they are format characters: emoji need them.
    """
    if character in _JOINERS or ord(character) in _TAGS:
        return True
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs"}


def _cleaned(filename: str) -> str:
    """Clean a file name: no folders, no control characters, no text direction.

    A long name is cut, but keeps its extension.
    """
    base = filename.replace("\\", "/").rpartition("/")[2]
    visible = "".join(filter(_is_kept, base)).strip(_BLANKS)
    if set(visible) <= {"."}:
        return ""
    path = PurePath(visible)
    return (
        path.stem[: max(0, _LONGEST_FILENAME - len(path.suffix))] + path.suffix[:_LONGEST_FILENAME]
    )
