"""What providers hold of our attachments: a session's file is uploaded once, for all processes.

A row says under which id, or, while its `provider_id` is empty, that somebody is uploading it.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from service.database import Database, is_postgres, now_ms
from service.models import UploadedMedia

_UNDER_WAY: Final = ""


class StoredMediaIds:
    """A session's uploads, remembered for every process that sends for it.

    What the database said once is believed until it is over: that another process had to upload a
    file again shows when the provider does not know the old id, and then `forget` is called.
    """

    def __init__(self, database: Database, session_id: str) -> None:
        self._database = database
        self._session_id = session_id
        self._known: dict[str, tuple[str, int]] = {}

    def get(self, attachment_id: str) -> str | None:
        """Return the provider's id of an attachment while it is valid."""
        known = self._known.get(attachment_id)
        if known is None or known[1] <= now_ms():
            known = self._look_up(attachment_id)
        return known and known[0]

    def reserve(self, attachment_id: str, *, seconds: float) -> bool:
        """Say that an upload begins, unless one is under way or done; tell whether it may."""
        begins = self._values(attachment_id, _UNDER_WAY, seconds)
        with self._database.writing() as db:
            over = (*self._key(attachment_id), UploadedMedia.expires_at <= now_ms())
            db.execute(delete(UploadedMedia).where(*over))
            dialect = postgresql if is_postgres(db) else sqlite
            insert = dialect.insert(UploadedMedia).values(**begins).on_conflict_do_nothing()
            return db.execute(insert.returning(UploadedMedia.session_id)).first() is not None

    def put(self, attachment_id: str, provider_id: str, *, lifetime: float) -> None:
        """Remember an upload for `lifetime` seconds."""
        values = self._values(attachment_id, provider_id, lifetime)
        with self._database.writing() as db:
            dialect = postgresql if is_postgres(db) else sqlite
            insert = dialect.insert(UploadedMedia).values(**values)
            key = UploadedMedia.__table__.primary_key
            db.execute(insert.on_conflict_do_update(index_elements=key, set_=values))
        self._known[attachment_id] = (provider_id, values["expires_at"])

    def forget(self, attachment_id: str, provider_id: str = _UNDER_WAY) -> None:
        """Drop an id that the provider no longer knows; an empty one is that of an upload begun."""
        if self._known.get(attachment_id, ("",))[0] == provider_id:
            self._known.pop(attachment_id, None)
        same = UploadedMedia.provider_id == provider_id
        with self._database.writing() as db:
            db.execute(delete(UploadedMedia).where(*self._key(attachment_id), same))

    def _look_up(self, attachment_id: str) -> tuple[str, int] | None:
        valid = (UploadedMedia.provider_id != _UNDER_WAY, UploadedMedia.expires_at > now_ms())
        wanted = select(UploadedMedia.provider_id, UploadedMedia.expires_at)
        with self._database.reading() as db:
            row = db.execute(wanted.where(*self._key(attachment_id), *valid)).one_or_none()
        if row is None:
            return None
        self._known[attachment_id] = (row.provider_id, row.expires_at)
        return self._known[attachment_id]

    def _key(self, attachment_id: str) -> tuple[ColumnElement[bool], ...]:
        return (
            UploadedMedia.session_id == self._session_id,
            UploadedMedia.attachment_id == attachment_id,
        )

    def _values(self, attachment_id: str, provider_id: str, lifetime: float) -> dict[str, Any]:
        return {
            "session_id": self._session_id,
            "attachment_id": attachment_id,
            "provider_id": provider_id,
            "expires_at": now_ms() + round(lifetime * 1000),
        }
