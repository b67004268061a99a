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
from apprise import AppriseAttachment, NotifyBase
from apprise.attachment.file import AttachFile
from marshmallow import Schema, ValidationError, validates

from service.channels.answers import Answer, refusal
from service.channels.base import (
    Account,
    BlockedError,
    ContactCard,
    Content,
    Location,
    Media,
    Part,
    PermanentError,
    RequestError,
    RetryableError,
    SendError,
    Surroundings,
    Text,
    UncertainError,
    UnsupportedContentError,
    Webhook,
)
from service.channels.captions import refuse_long
from service.channels.settings import Secret
from service.channels.steps import Call, Conversation, Workers, result

_SMS: Final = (
    *("46elks", "atalk", "bulksms", "bulkvs", "burstsms", "clickatell", "clicksend", "cm"),
    *("d7sms", "elks", "exotel", "freemobile", "gupshup", "httpsms", "kavenegar", "kudosity"),
    *("msg91", "msgbird", "nexmo", "octopush", "plivo", "seven", "sinch", "smsmanager"),
    *("smsmgr", "sns", "telnyx", "twilio", "voipms", "vonage"),
)
_CHATS: Final = (
    "discord",
    "line",
    "pbul",
    "pover",
    "slack",
    "tgram",
    "threema",
    "viber",
    "whatsapp",
)
_MAIL: Final = (
    *("brevo", "mailersend", "mailgun", "postmark", "resend", "sendgrid", "ses", "smtp2go"),
    "sparkpost",
)
HOSTED: Final = frozenset((*_SMS, *_CHATS, *_MAIL))
"""Services at an address of their own. Any other lets a URL name a host, which Apprise calls
without looking where it is; that is left to operators who allow private addresses."""

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
        if Services.instantiate(url.replace(_PLACE, _SAMPLE)) is None:
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

    def __init__(self, account: Account, surroundings: Surroundings) -> None:
        """Open the account; no call goes out yet."""
        self._url = str(account.settings["url"])
        self._timeouts = surroundings.connect_timeout, surroundings.send_timeout
        is_hosted = self._url.partition(":")[0].lower() in HOSTED
        self._is_allowed = is_hosted or surroundings.private_addresses

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
        self._service(_SAMPLE)
        return result(None)

    def _notify(self, recipient: str, prepared: Prepared) -> None:
        service = self._service(recipient)
        files = _attached(prepared.file) if prepared.file else None
        _log.lines = []
        if not service.notify(body=prepared.body, attach=files):
            raise _refused(_log.lines, recipient)

    def _refuse_long(self, body: str) -> None:
        """Raise UnsupportedContentError for what no service takes; SMS gateways cut it up."""
        if self._url.partition(":")[0].lower() not in _SMS:
            refuse_long(body, self._instantiate(_SAMPLE).body_maxlen, "This service")

    def _service(self, recipient: str) -> NotifyBase:
        """Return a service that may be used; raises BlockedError."""
        if not self._is_allowed:
            reason = (
                "This session's URL names a host, so it may lead to a private address; it is used"
                " only where the operator sets PRIVATE_ADDRESSES=true."
            )
            raise BlockedError(reason, code="address")
        return self._instantiate(recipient)

    def _instantiate(self, recipient: str) -> NotifyBase:
        """Return a service for one recipient, a new one since its throttle is per object."""
        service = Services.instantiate(self._url.replace(_PLACE, quote(recipient)))
        if not isinstance(service, NotifyBase):
            raise BlockedError("Apprise does not understand the session's URL.", code="url")
        service.socket_connect_timeout, service.socket_read_timeout = self._timeouts
        return service


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
