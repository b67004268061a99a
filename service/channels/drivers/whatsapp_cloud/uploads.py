"""The files of a phone number that Meta holds: each is uploaded once, whoever needs it.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from service.channels.base import (
    BlockedError,
    Media,
    MediaIds,
    RetryableError,
    SendError,
    Surroundings,
    UncertainError,
)
from service.channels.drivers.whatsapp_cloud.errors import refused
from service.channels.drivers.whatsapp_cloud.rendering import read
from service.channels.http import SLOWEST_UPLOAD, Form, client

MEDIA_LIFETIME: Final = 29 * 86_400.0
"""Seconds for which a media id is used again; Meta keeps one for 30 days."""

_PATIENCE: Final = 5.0
"""Seconds that a thread waits for another process's upload, and then the session."""

_GLANCE: Final = 0.1


@dataclass(slots=True)
class _Upload:
    """The one upload of an attachment that may be under way here, and how the last one failed."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    error: SendError | None = None
    failed_at: float = 0.0


class Uploads:
    """The way from an attachment to Meta's id of it; `node` is the phone number's address."""

    def __init__(
        self,
        node: str,
        credentials: Sequence[str],
        media_ids: MediaIds,
        surroundings: Surroundings,
    ) -> None:
        self._url = f"{node}/media"
        self._credentials = credentials
        self._media_ids = media_ids
        self._client = client(surroundings)
        self._timeout = surroundings.connect_timeout + surroundings.send_timeout
        self._uploads: dict[str, _Upload] = {}

    def id_of(self, media: Media) -> str:
        """Return Meta's id of an attachment, uploaded now if need be; raises SendError."""
        return self._media_ids.get(media.attachment_id) or self._upload(media, gone="")

    def renew(self, media: Media, gone: str) -> str:
        """Return another id than the one that means nothing to Meta any more; raises SendError."""
        return self._upload(media, gone)

    def _upload(self, media: Media, gone: str) -> str:
        """Let one thread of this process see to the upload, and the others share what it gets."""
        asked_at = time.monotonic()
        upload = self._uploads.setdefault(media.attachment_id, _Upload())
        with upload.turn:
            if gone:
                self._media_ids.forget(media.attachment_id, gone)
            if upload.error and upload.failed_at > asked_at:
                raise upload.error  # another thread tried while this one waited
            try:
                return self._upload_once(media)
            except SendError as error:
                upload.error, upload.failed_at = error, time.monotonic()
                raise

    def _upload_once(self, media: Media) -> str:
        """Upload a file unless it is there, or another process does it meanwhile."""
        longest = 2 * self._timeout + media.size / SLOWEST_UPLOAD
        until = time.monotonic() + _PATIENCE
        while not (known := self._media_ids.get(media.attachment_id)):
            if self._media_ids.reserve(media.attachment_id, seconds=longest):
                return self._upload_now(media)
            if time.monotonic() > until:
                reason = "Another process is still uploading a file of this session's."
                raise BlockedError(reason, code="uploading", wait=_PATIENCE)
            time.sleep(_GLANCE)
        return known

    def _upload_now(self, media: Media) -> str:
        try:
            media_id = self._send(media)
        except Exception:
            self._media_ids.forget(media.attachment_id)
            raise
        self._media_ids.put(media.attachment_id, media_id, lifetime=MEDIA_LIFETIME)
        return media_id

    def _send(self, media: Media) -> str:
        purpose = {"messaging_product": "whatsapp", "type": media.mimetype}
        form = Form(purpose, media.path, media.filename, media.mimetype)
        answer = self._client.upload(self._url, form, self._credentials)
        media_id = read(answer.body).get("id")
        if not answer.accepted or not media_id:
            raise _repeatable(refused(answer))
        return str(media_id)


def _repeatable(error: SendError) -> SendError:
    """Return the same about an upload, which may be repeated whatever became of it."""
    if isinstance(error, UncertainError):
        return RetryableError(error.reason, code=error.code)
    return error
