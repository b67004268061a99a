"""Uploads of a phone number's files to Meta: each file is uploaded once.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from service.channels.answers import read
from service.channels.base import DriverContext, MediaIds
from service.channels.connections import SLOWEST_UPLOAD
from service.channels.content import Media
from service.channels.drivers.whatsapp_cloud.errors import refused
from service.channels.errors import BlockedError, RetryableError, SendError, UncertainError
from service.channels.steps import Call, Conversation, Form, Pause, upload
from service.channels.workers import Workers

MEDIA_LIFETIME: Final = 29 * 86_400.0
"""Seconds for which a media id is reused. Meta keeps it for 30 days."""

_PATIENCE: Final = 5.0
"""Seconds that a message, and then its session, wait for another process's upload."""

_GLANCE: Final = 0.1

_BOOKKEEPING: Final = Workers("media", 2)


@dataclass(slots=True, weakref_slot=True)
class _Upload:
    """The current upload of an attachment in this process, and how the last one failed."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    error: SendError | None = None
    failed_at: float = 0.0


class Uploads:
    """Uploads attachments to Meta. `node` is the URL of the phone number."""

    def __init__(
        self,
        node: str,
        credentials: Sequence[str],
        media_ids: MediaIds,
        context: DriverContext,
    ) -> None:
        self._url = f"{node}/media"
        self._credentials = credentials
        self._media_ids = media_ids
        self._timeout = context.connect_timeout + context.send_timeout
        # Each stays as long as a conversation holds it: the files of a session come and go.
        self._uploads: WeakValueDictionary[str, _Upload] = WeakValueDictionary()
        self._finding = threading.Lock()

    def id_of(self, media: Media) -> Conversation[str]:
        """Return Meta's id of an attachment, and upload it if needed; raises SendError."""
        known = self._media_ids.known(media.attachment_id)
        return known or (yield from self._obtain(media, gone=""))

    def renew(self, media: Media, gone: str) -> Conversation[str]:
        """Replace an id that Meta no longer knows; raises SendError."""
        return self._obtain(media, gone)

    def _obtain(self, media: Media, gone: str) -> Conversation[str]:
        """Upload the file once per process; other conversations share the result."""
        asked_at = time.monotonic()
        with self._finding:
            current = self._uploads.setdefault(media.attachment_id, _Upload())
        while not current.turn.acquire(blocking=False):
            yield Pause(_GLANCE)
            known = self._media_ids.known(media.attachment_id)
            if known and known != gone:
                return known  # without the lock: hundreds may be waiting for it
        try:
            if current.error and current.failed_at > asked_at:
                raise current.error  # another conversation failed while this one waited
            if gone:
                yield _call(self._media_ids.forget, media.attachment_id, gone)
            return (yield from self._upload_once(media))
        except SendError as error:
            if error is not current.error:
                current.error, current.failed_at = error, time.monotonic()
            raise
        finally:
            current.turn.release()

    def _upload_once(self, media: Media) -> Conversation[str]:
        """Upload a file unless it exists or another process is uploading it."""
        longest = 2 * self._timeout + media.size / SLOWEST_UPLOAD
        until = time.monotonic() + _PATIENCE
        while not (known := (yield _call(self._media_ids.get, media.attachment_id))):
            begins = yield _call(self._media_ids.reserve, media.attachment_id, seconds=longest)
            if begins:
                return (yield from self._upload_now(media))
            if time.monotonic() > until:
                reason = "Another process is still uploading a file of this session."
                raise BlockedError(reason, code="uploading", wait=_PATIENCE)
            yield Pause(_GLANCE)
        return str(known)

    def _upload_now(self, media: Media) -> Conversation[str]:
        try:
            media_id = yield from self._send(media)
        except Exception:
            yield _call(self._media_ids.forget, media.attachment_id)
            raise
        yield _call(self._media_ids.put, media.attachment_id, media_id, lifetime=MEDIA_LIFETIME)
        return media_id

    def _send(self, media: Media) -> Conversation[str]:
        purpose = {"messaging_product": "whatsapp", "type": media.mimetype}
        form = Form(purpose, media.path, media.filename, media.mimetype)
        answer = yield upload(self._url, form, self._credentials)
        media_id = read(answer.body).get("id")
        if not answer.accepted or not media_id:
            raise _repeatable(refused(answer))
        return str(media_id)


def _call(function: Callable[..., Any], *values: Any, **options: Any) -> Call:
    """Return a step that calls the database in a thread."""
    return Call(_BOOKKEEPING, partial(function, *values, **options))


def _repeatable(error: SendError) -> SendError:
    """Return a retryable error: an upload may always be repeated."""
    if isinstance(error, UncertainError):
        return RetryableError(error.reason, code=error.code)
    return error
