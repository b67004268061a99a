"""The upload ids that drivers use: a file is uploaded once for all processes."""

from __future__ import annotations

import threading
from typing import Final

from service.core import uploads
from service.core.uploads import UNDER_WAY, Key, Upload
from service.database import Database, milliseconds, now_ms

_KEPT: Final = 256
"""Ids of a session that stay in memory. A driver lives for weeks; files come and go."""


class StoredMediaIds:
    """A session's uploads, shared by every process that sends for it.

    The newest ids are cached until they expire. If another process uploads the file again,
    the provider rejects the old id, and the driver calls `forget`.
    """

    def __init__(self, database: Database, session_id: str) -> None:
        self._database = database
        self._session_id = session_id
        self._known: dict[str, Upload] = {}
        self._changing = threading.Lock()

    def known(self, attachment_id: str) -> str | None:
        """Return the provider's id of an attachment if it is in memory and valid."""
        known = self._known.get(attachment_id)
        return known.provider_id if known and known.expires_at > now_ms() else None

    def get(self, attachment_id: str) -> str | None:
        """Return the provider's id of an attachment while it is valid."""
        return self.known(attachment_id) or self._look_up(attachment_id)

    def reserve(self, attachment_id: str, *, seconds: float) -> bool:
        """Reserve an upload; return False if one is in progress or done."""
        now = now_ms()
        until = now + milliseconds(seconds)
        with self._database.writing() as db:
            return uploads.reserve(db, self._key(attachment_id), until=until, now=now)

    def put(self, attachment_id: str, provider_id: str, *, lifetime: float) -> None:
        """Store an upload that is valid for `lifetime` seconds."""
        upload = Upload(provider_id, now_ms() + milliseconds(lifetime))
        with self._database.writing() as db:
            uploads.put(db, self._key(attachment_id), upload)
        self._keep(attachment_id, upload)

    def forget(self, attachment_id: str, provider_id: str = UNDER_WAY) -> None:
        """Drop an id that the provider no longer knows; without one, an upload that failed."""
        with self._changing:
            known = self._known.get(attachment_id)
            if known and known.provider_id == provider_id:
                del self._known[attachment_id]
        with self._database.writing() as db:
            uploads.forget(db, self._key(attachment_id), provider_id)

    def _look_up(self, attachment_id: str) -> str | None:
        with self._database.reading() as db:
            found = uploads.find(db, self._key(attachment_id), now=now_ms())
        if found:
            self._keep(attachment_id, found)
        return found and found.provider_id

    def _keep(self, attachment_id: str, upload: Upload) -> None:
        """Cache an id, and drop the oldest one if there are too many."""
        with self._changing:
            self._known.pop(attachment_id, None)
            self._known[attachment_id] = upload
            if len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]

    def _key(self, attachment_id: str) -> Key:
        return Key(self._session_id, attachment_id)
