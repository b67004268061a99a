"""Whatever Apprise reaches: SMS gateways, Telegram, e-mail and a hundred others.

One URL per session, with `{to}` where the recipient goes (https://appriseit.com/services/). An
optional extra: it needs the package `apprise`.

Apprise says of a message only whether it went. Why not, it tells its log; that is read here, of
each thread its own, and is kept from every other log, since it has numbers and texts in it.
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
from service.channels.base import (
    Account,
    BlockedError,
    ContactCard,
    Content,
    DriverContext,
    Location,
    Media,
    Part,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    Text,
    UncertainError,
    UnsupportedContentError,
    Webhook,
)
from service.channels.captions import refuse_long
from service.channels.drivers.apprise import services
from service.channels.drivers.apprise.outlet import Outlet
from service.channels.settings import Secret
from service.channels.steps import Call, Conversation, Workers, result

_THREADS: Final = 16
"""Messages under way at once: Apprise blocks, so each takes a thread."""

_SENDING: Final = Workers("apprise", _THREADS)

_PLACE: Final = "{to}"
_SAMPLE: Final = "12025550110"

_NEVER_SENT: Final = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolutionError|SSLCertVerificationError"
)
"""What requests says when no connection came about."""

_STATUS: Final = re.compile(r"error=(\d{3})")
"""How most of Apprise's services tell the HTTP status they were answered with."""


class Prepared(NamedTuple):
    """A message as Apprise takes it."""

    body: str
    file: Media | None


class Settings(Schema):
    """One Apprise URL; all of it is secret, since credentials stand in it."""

    url = Secret(required=True, description="An Apprise URL with {to} where the recipient goes")

    @validates("url")
    def is_understood(self, url: str, data_key: str) -> None:
        """Refuse a URL that has no place for a recipient or names no service."""
        if _PLACE not in url:
            message = f"Must have {_PLACE} where the recipient goes."
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
    echoes_references: ClassVar[bool] = False
    concurrency: ClassVar[int | None] = _THREADS
    webhook: ClassVar[Webhook | None] = None
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, surroundings: DriverContext) -> None:
        """Open the account; no call goes out yet."""
        self._url = str(account.settings["url"])
        self._service_name = services.service_of(self._url)
        self._surroundings = surroundings

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Put all that is words into one part; files follow, where the service takes any."""
        if content.template:
            reason = "Only WhatsApp's Cloud API has templates."
            raise UnsupportedContentError(field="message.template", reason=reason)
        if content.media and not self._instantiate(_SAMPLE).attachment_support:
            reason = "This service takes no attachments."
            raise UnsupportedContentError(field="message.attachments", reason=reason)
        words = (content.text, _place(content.location), _card(content.contact))
        body = "\n".join(each for each in words if each)
        self._refuse_long(body)
        return (*((Text(body),) if body else ()), *content.media)

    def segments(self, text: str) -> int | None:  # noqa: ARG002 - the contract of all drivers
        """Return None: a text is one message."""
        return None

    def prepare(self, part: Part) -> Prepared:
        """Render a part as Apprise takes it."""
        if isinstance(part, Media):
            return Prepared(part.caption, part)
        return Prepared(part.body if isinstance(part, Text) else "", None)

    def send(self, recipient: str, prepared: Prepared, reference: str) -> Conversation[str]:  # noqa: ARG002
        """Send one message; Apprise gives no id, so there is none. Raises SendError."""
        yield Call(_SENDING, partial(self._notify, recipient, prepared), once=True)
        return ""

    def may_repeat(self, part: Part) -> Conversation[bool]:  # noqa: ARG002 - the contract of all drivers
        """Say no: no service of Apprise's is told our reference."""
        return result(value=False)

    def check(self) -> Conversation[None]:
        """See whether the URL may be used; that it works shows only with the first message."""
        self._allowed(_SAMPLE)
        return result(None)

    def _notify(self, recipient: str, prepared: Prepared) -> None:
        service = self._allowed(recipient)
        files = _attached(prepared.file) if prepared.file else None
        outlet = Outlet(self._surroundings)
        _log.lines = []
        with outlet.used():
            was_sent = service.notify(body=prepared.body, attach=files)
        if outlet.forbidden:
            raise forbidden(outlet.forbidden)
        if not was_sent:
            raise _refused(_log.lines, recipient)

    def _refuse_long(self, body: str) -> None:
        """Raise UnsupportedContentError for what no service takes; SMS gateways cut it up."""
        if self._service_name not in services.SMS:
            refuse_long(body, self._instantiate(_SAMPLE).body_maxlen, "This service")

    def _allowed(self, recipient: str) -> NotifyBase:
        """Return a service that may be used; raises BlockedError."""
        if self._service_name not in services.HOSTED:
            self._refuse_host()
        if reason := services.fault(self._url.replace(_PLACE, _SAMPLE)):
            raise BlockedError(f"The session's URL cannot be used: {reason}", code="url")
        return self._instantiate(recipient)

    def _refuse_host(self) -> None:
        """Raise BlockedError where a URL that names a host may not be used."""
        if not self._surroundings.private_addresses:
            reason = (
                "This session's URL names a host, so it may lead to a private address; it is used"
                " only where the operator sets PRIVATE_ADDRESSES=true."
            )
            raise BlockedError(reason, code="address")
        if self._surroundings.proxy and self._service_name in services.NO_HTTP:
            reason = "This service does not speak HTTP, so it cannot go through OUTGOING_PROXY."
            raise BlockedError(reason, code="proxy")

    def _instantiate(self, recipient: str) -> NotifyBase:
        """Return a service for one recipient, a new one since its throttle is per object."""
        service = _service(self._url.replace(_PLACE, quote(recipient)))
        if service is None:
            raise BlockedError("Apprise does not understand the session's URL.", code="url")
        service.socket_connect_timeout = self._surroundings.connect_timeout
        service.socket_read_timeout = self._surroundings.send_timeout
        return service


def _service(url: str) -> NotifyBase | None:
    """Return Apprise's object for a URL, which follows no redirect and stores nothing."""
    asset = AppriseAsset(http_redirects=False, storage_mode="memory")
    service = Services.instantiate(url, asset=asset)
    return service if isinstance(service, NotifyBase) else None


class _Log(logging.Handler):
    """What Apprise says while this thread uses it."""

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
    """Return what hears Apprise's log instead of everybody else."""
    logger, log = logging.getLogger("apprise"), _Log()
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(log)
    # Beneath, urllib3 would tell every URL, and with it the credentials that stand in some.
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
    """Return what a failure means, as far as Apprise's log tells it."""
    said = "\n".join(lines)
    if _NEVER_SENT.search(said):
        return RetryableError("The service was not reached.", code="unreachable")
    reason = next((each for each in lines if "Failed to send" in each), "The message did not go.")
    reason = reason.replace(recipient, "the recipient")
    statuses = _STATUS.findall(said)
    if not statuses:
        return UncertainError(reason, code="no_answer")
    error = refusal(Answer(int(statuses[-1]), b"", 0.0, ()), reason)
    if isinstance(error, RequestError):  # nobody tells a bad message from a bad number
        return PermanentError(error.reason, code=error.code)
    return error
