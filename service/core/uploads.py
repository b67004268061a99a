"""Uploads: which attachments a session's provider has, and under which ids.

An empty `provider_id` means that the upload is in progress.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as Db

from service.database import is_postgres
from service.models import UploadedMedia

UNDER_WAY: Final = ""
"""The `provider_id` of an upload in progress."""


class Key(NamedTuple):
    """An attachment at the provider of one session."""

    session_id: str
    attachment_id: str


class Upload(NamedTuple):
    """A provider's id of an attachment, and how long it is valid."""

    provider_id: str
    expires_at: int


def find(db: Db, key: Key, *, now: int) -> Upload | None:
    """Return a finished upload that is still valid."""
    valid = (UploadedMedia.provider_id != UNDER_WAY, UploadedMedia.expires_at > now)
    wanted = select(UploadedMedia.provider_id, UploadedMedia.expires_at)
    row = db.execute(wanted.where(*_is(key), *valid)).one_or_none()
    return Upload(*row) if row else None


def reserve(db: Db, key: Key, *, until: int, now: int) -> bool:
    """Reserve an upload; return False if one is in progress or done."""
    db.execute(delete(UploadedMedia).where(*_is(key), UploadedMedia.expires_at <= now))
    insert = _insert(db, _values(key, Upload(UNDER_WAY, until))).on_conflict_do_nothing()
    return db.execute(insert.returning(UploadedMedia.session_id)).first() is not None


def put(db: Db, key: Key, upload: Upload) -> None:
    """Store an upload, replacing an earlier one."""
    values = _values(key, upload)
    index = UploadedMedia.__table__.primary_key
    db.execute(_insert(db, values).on_conflict_do_update(index_elements=index, set_=values))


def forget(db: Db, key: Key, provider_id: str) -> None:
    """Delete an upload, unless its id has changed."""
    db.execute(delete(UploadedMedia).where(*_is(key), UploadedMedia.provider_id == provider_id))


def _is(key: Key) -> tuple[ColumnElement[bool], ...]:
    return (
        UploadedMedia.session_id == key.session_id,
        UploadedMedia.attachment_id == key.attachment_id,
    )


def _values(key: Key, upload: Upload) -> dict[str, Any]:
    return key._asdict() | upload._asdict()


def _insert(db: Db, values: dict[str, Any]) -> postgresql.Insert | sqlite.Insert:
    if is_postgres(db):
        return postgresql.insert(UploadedMedia).values(**values)
    return sqlite.insert(UploadedMedia).values(**values)
