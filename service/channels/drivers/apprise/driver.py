"""Apprise: SMS gateways, Telegram, e-mail and a hundred other services.

A session has one URL, with `{to}` in place of the recipient (https://appriseit.com/services/). This
optional channel needs the package `apprise`.

Apprise returns only whether a message was sent. The reason of a failure is in its log, which this
driver reads per thread and keeps out of all other logs, because it contains numbers and texts.
"""

from __future__ import annotations

import logging
import re
import threading
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import quote

from apprise import Apprise as Services
from apprise import AppriseAsset, AppriseAttachment, NotifyBase
from apprise.attachment.file import AttachFile
from marshmallow import Schema, ValidationError, validates

from service.channels.addresses import forbidden
from service.channels.answers import Answer, refusal
from service.channels.base import Account, DriverContext, TemplateInfo
from service.channels.captions import refuse_long
from service.channels.content import (
    ContactCard,
    Content,
    Location,
    Media,
    Part,
    Text,
    UnsupportedContentError,
)
from service.channels.drivers.apprise import services
from service.channels.drivers.apprise.outlet import Outlet
from service.channels.errors import (
    BlockedError,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    UncertainError,
)
from service.channels.settings import Secret
from service.channels.steps import Call, Conversation, result
from service.channels.webhooks import Webhook
from service.channels.workers import Workers

_THREADS: Final = 16
"""Messages of a client at the same time: Apprise blocks, so each one needs a thread."""

_SENDING: Final = Workers("apprise", _THREADS)

_PLACE: Final = "{to}"
_SAMPLE: Final = "12025550110"

_NEVER_SENT: Final = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolutionError|SSLCertVerificationError"
)
"""Messages of requests when a connection failed."""

_STATUS: Final = re.compile(r"error=(\d{3})")
"""How most of Apprise's services log the HTTP status of an answer."""


class Prepared(NamedTuple):
    """A message in Apprise's form."""

    body: str
    file: Media | None


class Settings(Schema):
    """An Apprise URL. All of it is secret, because it contains credentials."""

    url = Secret(required=True, description="An Apprise URL with {to} in place of the recipient")

    @validates("url")
    def is_understood(self, url: str, data_key: str) -> None:
        """Refuse a URL without `{to}`, or of an unknown service."""
        if _PLACE not in url:
            message = f"Must contain {_PLACE} in place of the recipient."
            raise ValidationError(message, data_key)
        sample = url.replace(_PLACE, _SAMPLE)
        if reason := services.fault(sample):
            raise ValidationError(reason, data_key)
        if _service(sample) is None:
            message = "Apprise does not understand this URL."
            raise ValidationError(message, data_key)


class Apprise:
    """A driver for one Apprise URL."""

    name: ClassVar[str] = "apprise"
    reaches_groups: ClassVar[bool] = False
    reaches_user_ids: ClassVar[bool] = False
    has_templates: ClassVar[bool] = False
    echoes_references: ClassVar[bool] = False
    concurrency: ClassVar[int | None] = _THREADS
    webhook: ClassVar[Webhook | None] = None
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:
        """Create the driver, without any request."""
        self._url = str(account.settings["url"])
        self._owner = account.client_id
        self._service_name = services.service_of(self._url)
        self._context = context

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Put all text into one part; files follow if the service supports them."""
        if content.category:
            raise UnsupportedContentError("message.category", "Apprise has no Direct Send.")
        if content.template:
            reason = "Only the WhatsApp Cloud API supports templates."
            raise UnsupportedContentError(field="message.template", reason=reason)
        if content.media and not self._instantiate(_SAMPLE).attachment_support:
            reason = "This service does not support attachments."
            raise UnsupportedContentError(field="message.attachments", reason=reason)
        words = (content.text, _place(content.location), _card(content.contact))
        body = "\n".join(each for each in words if each)
        self._refuse_long(body)
        return (*((Text(body),) if body else ()), *content.media)

    def segments(self, text: str) -> int | None:  # noqa: ARG002 - the contract of all drivers
        """Return None: a text is one message."""
        return None

    def prepare(self, part: Part) -> Prepared:
        """Render a part for Apprise."""
        if isinstance(part, Media):
            return Prepared(part.caption, part)
        return Prepared(part.body if isinstance(part, Text) else "", None)

    def send(self, recipient: str, prepared: Prepared, reference: str) -> Conversation[str]:  # noqa: ARG002
        """Send a message; Apprise returns no message id. Raises SendError."""
        call = partial(self._notify, recipient, prepared)
        yield Call(_SENDING, call, once=True, owner=self._owner)
        return ""

    def may_repeat(self, part: Part) -> Conversation[bool]:  # noqa: ARG002 - the contract of all drivers
        """Return False: Apprise passes no reference to services."""
        return result(value=False)

    def templates(self) -> Conversation[list[TemplateInfo]]:
        """Return none: the channel has no templates."""
        return result([])

    def check(self) -> Conversation[None]:
        """Check whether the URL may be used. Only the first message shows whether it works."""
        self._allowed(_SAMPLE)
        return result(None)

    def _notify(self, recipient: str, prepared: Prepared) -> None:
        service = self._allowed(recipient)
        files = _attached(prepared.file) if prepared.file else None
        outlet = Outlet(self._context)
        _log.lines = []
        with outlet.used():
            was_sent = service.notify(body=prepared.body, attach=files)
        if outlet.forbidden:
            raise forbidden(outlet.forbidden)
        if not was_sent:
            raise _refused(_log.lines, recipient)

    def _refuse_long(self, body: str) -> None:
        """Raise UnsupportedContentError for text that is too long. SMS gateways split it."""
        if self._service_name not in services.SMS:
            refuse_long(body, self._instantiate(_SAMPLE).body_maxlen, "This service")

    def _allowed(self, recipient: str) -> NotifyBase:
        """Return a service if it may be used; raises BlockedError."""
        if self._service_name not in services.HOSTED:
            self._refuse_host()
        if reason := services.fault(self._url.replace(_PLACE, _SAMPLE)):
            raise BlockedError(f"The session's URL cannot be used: {reason}", code="url")
        return self._instantiate(recipient)

    def _refuse_host(self) -> None:
        """Raise BlockedError if URLs with a host are not allowed."""
        if not self._context.private_addresses:
            reason = (
                "This session's URL names a host, which may be a private address. Crier uses it"
                " only with PRIVATE_ADDRESSES=true."
            )
            raise BlockedError(reason, code="address")
        if self._context.proxy and self._service_name in services.NO_HTTP:
            reason = "This service does not use HTTP, so it cannot go through OUTGOING_PROXY."
            raise BlockedError(reason, code="proxy")

    def _instantiate(self, recipient: str) -> NotifyBase:
        """Create a service for a recipient. Its throttle is per object, so create a new one."""
        service = _service(self._url.replace(_PLACE, quote(recipient)))
        if service is None:
            raise BlockedError("Apprise does not understand the session's URL.", code="url")
        service.socket_connect_timeout = self._context.connect_timeout
        service.socket_read_timeout = self._context.send_timeout
        return service


def _service(url: str) -> NotifyBase | None:
    """Create Apprise's object for a URL; it follows no redirects and stores nothing."""
    asset = AppriseAsset(http_redirects=False, storage_mode="memory")
    service = Services.instantiate(url, asset=asset)
    return service if isinstance(service, NotifyBase) else None


class _Log(logging.Handler):
    """Captures Apprise's log of the current thread."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._mine = threading.local()

    @property
    def lines(self) -> list[str]:
        lines: list[str] = self._mine.lines
        return lines

    @lines.setter
    def lines(self, lines: list[str]) -> None:
        self._mine.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(self._mine, "lines"):
            self._mine.lines.append(record.getMessage())


def _listen() -> _Log:
    """Capture Apprise's log, and keep it out of all others."""
    logger, log = logging.getLogger("apprise"), _Log()
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(log)
    # urllib3 would log URLs, some of which contain credentials.
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    return log


_log = _listen()


def _attached(media: Media) -> AppriseAttachment:
    attach_file: Any = AttachFile  # not all of Apprise is annotated
    file = attach_file(str(media.path), name=media.filename, mimetype=media.mimetype)
    return AppriseAttachment(paths=[file])


def _place(location: Location | None) -> str:
    if location is None:
        return ""
    link = f"https://maps.google.com/?q={location.latitude},{location.longitude}"
    return f"{location.name}: {link}" if location.name else link


def _card(contact: ContactCard | None) -> str:
    if contact is None:
        return ""
    phones = [phone if phone.startswith("+") else f"+{phone}" for phone in contact.phones]
    return "\n".join([contact.name, *phones, *contact.emails])


def _refused(lines: list[str], recipient: str) -> SendError:
    """Return the error of a failure, from Apprise's log."""
    said = "\n".join(lines)
    if _NEVER_SENT.search(said):
        return RetryableError("The service could not be reached.", code="unreachable")
    reason = next((each for each in lines if "Failed to send" in each), "Sending failed.")
    reason = reason.replace(recipient, "the recipient")
    statuses = _STATUS.findall(said)
    if not statuses:
        return UncertainError(reason, code="no_answer")
    error = refusal(Answer(int(statuses[-1]), b"", 0.0, ()), reason)
    if isinstance(error, RequestError):  # it may be a bad message or a bad number
        return PermanentError(error.reason, code=error.code)
    return error
