"""The interface between the dispatcher and a driver.

A driver sends one part to one recipient, or raises the `SendError` that says why not. The
dispatcher decides whether and when to try again, and what happens to the broadcast.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from marshmallow import Schema

from service import documents
from service.channels.steps import Conversation
from service.documents import UnreadableDocumentError


class MediaKind(StrEnum):
    """How channels show a file."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Text:
    """A text message."""

    body: str


@dataclass(frozen=True, slots=True)
class Media:
    """A stored attachment with its caption."""

    attachment_id: str
    kind: MediaKind
    mimetype: str
    filename: str
    path: Path
    size: int
    url: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """A location. Coordinates are in decimal degrees, as the client wrote them."""

    latitude: str
    longitude: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ContactCard:
    """A contact card. `vcard` is the same as a vCard 3.0 (RFC 2426)."""

    name: str
    vcard: str
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A message template that the provider has approved.

    `components` are its parameters, in the provider's own JSON
    (https://developers.facebook.com/docs/whatsapp/cloud-api/guides/send-message-templates).
    `when` says who gets it, see `core.windows`. `marketing`: by the API for marketing messages.
    """

    name: str
    language: str
    components: tuple[Mapping[str, Any], ...] = ()
    when: str = ""
    marketing: bool = False


Part = Text | Media | Location | ContactCard | Template


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a broadcast, with all ids resolved."""

    text: str = ""
    media: tuple[Media, ...] = ()
    location: Location | None = None
    contact: ContactCard | None = None
    template: Template | None = None
    category: str = ""


class SendError(Exception):
    """The provider did not accept a part. `reason` is a sentence for the client.

    `code` is for programs: the provider's code, or a short word of ours.
    """

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class RetryableError(SendError):
    """Nothing was sent. A later attempt may succeed, not before `wait` seconds from now."""

    def __init__(self, reason: str, *, code: str = "", wait: float = 0.0) -> None:
        super().__init__(reason, code=code)
        self.wait = wait


class PermanentError(SendError):
    """This recipient cannot be reached. Another attempt would fail too.

    `opted_out`: the person wants no more messages from this account.
    """

    def __init__(self, reason: str, *, code: str = "", opted_out: bool = False) -> None:
        super().__init__(reason, code=code)
        self.opted_out = opted_out


class RequestError(PermanentError):
    """The provider refuses the message itself, for every recipient."""


class UnknownCodeError(PermanentError):
    """Refused with an unknown code: because of this recipient, or of the message."""


class BlockedError(SendError):
    """The account cannot send now: throttled, logged out, unpaid.

    `wait` is in seconds if the provider says how long, None until somebody fixes it.
    """

    def __init__(self, reason: str, *, code: str = "", wait: float | None = None) -> None:
        super().__init__(reason, code=code)
        self.wait = wait


class UncertainError(SendError):
    """The provider may have the part: the request was sent, but no answer came.

    `provider_id`, if not empty, is the id that we gave the part. The provider's receipts use it,
    and sending the part again with the same reference delivers it once.
    """

    def __init__(self, reason: str, *, code: str = "", provider_id: str = "") -> None:
        super().__init__(reason, code=code)
        self.provider_id = provider_id


class UnsupportedContentError(Exception):
    """The channel does not support a part of this message. `field` is its name in the API."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class ReceiptState(StrEnum):
    """The state of a part in a receipt."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A provider's later report on a part.

    The part is found by our `reference` if the provider returns it, otherwise by `provider_id`.
    `recipients` are the possible spellings of the recipient that the provider names. `error` is
    set if the part failed: the error that `send` would raise for the same cause.
    """

    provider_id: str
    state: ReceiptState
    reference: str = ""
    recipients: tuple[str, ...] = ()
    error: SendError | None = None
    pricing: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """A provider's later report on the account: why it cannot send, or None if it can."""

    error: SendError | None


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that somebody wrote to the account.

    `sender` is E.164 digits or the channel's own id of a person; `forms` are all forms in which
    they may have been addressed. `kind` is `text`, `button` for what was chosen and not typed,
    or the provider's word for anything else. `payload` is a button's own data, `answers` the
    provider's id of the message that was answered, `written_at` milliseconds of Unix time,
    0 where the provider does not say. `media` is what the driver needs to fetch the file.
    """

    message_id: str
    sender: str
    kind: str
    text: str = ""
    forms: tuple[str, ...] = ()
    name: str = ""
    payload: str = ""
    answers: str = ""
    written_at: int = 0
    media: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """A person's choice in the provider's own app: no more messages, or messages again."""

    forms: tuple[str, ...]
    stops: bool


@dataclass(frozen=True, slots=True)
class Person:
    """A number and a user id that are one person's; `number` in E.164 digits."""

    number: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Move:
    """A person who has other addresses from now on. `after` are numbers or user ids."""

    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TemplateInfo:
    """A template as the provider describes it.

    `parameters` are the components that have gaps: `component` (`header`, `body`, `button`), the
    `index` of a button, and `names` of the gaps, or the kind of the file.
    """

    name: str
    language: str
    category: str = ""
    status: str = ""
    quality: str = ""
    reason: str = ""
    parameters: tuple[Mapping[str, Any], ...] = ()


class Held(str):
    """The id of a message that the provider took and holds back until it has judged it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TemplateNotice:
    """A change of a template; an empty text: no change. `blocks`: it cannot be used any more."""

    name: str
    language: str
    status: str = ""
    quality: str = ""
    reason: str = ""
    blocks: bool = False


@dataclass(slots=True)
class Report:
    """The contents of a webhook. `odd` counts the elements in an unknown form, which are skipped.

    `health` is news of the account's quality and limits.
    """

    words: list[Receipt | Notice] = field(default_factory=list)
    inbound: list[Inbound] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    templates: list[TemplateNotice] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)
    odd: int = 0

    def __len__(self) -> int:
        """Return how many messages and choices it is about."""
        return len(self.words) + len(self.inbound) + len(self.preferences)

    def __bool__(self) -> bool:
        """Return whether it says anything."""
        return bool(len(self) or self.people or self.moves or self.templates or self.health)

    def objects(self, elements: object) -> Iterator[Mapping[str, Any]]:
        """Yield the objects of a JSON list, or a single object; null is an empty list."""
        for element in elements if isinstance(elements, list) else [elements]:
            if isinstance(element, Mapping):
                yield element
            elif element is not None or isinstance(elements, list):
                self.odd += 1


_MOST_BRACKETS: Final = 100_000
"""Enough for 5,000 of Meta's statuses, each with price, conversation and errors."""


class UnreadableReportError(Exception):
    """The body of the webhook is not valid JSON."""


def parsed(raw: bytes) -> Any:
    """Parse a webhook's JSON; raises UnreadableReportError."""
    if not raw:
        raise UnreadableReportError
    try:
        return documents.read(raw, most_brackets=_MOST_BRACKETS, storable=False)
    except UnreadableDocumentError as error:
        raise UnreadableReportError from error


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """A request to a session's webhook.

    `body` is the raw body, or the query where a provider reports by GET. The names of `headers` are
    in lower case. `url` is the address as the provider calls it, without its query.
    """

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]
    url: str

    def is_signed(self, header: str, expected: str) -> bool:
        """Tell, in constant time, whether a header has the expected signature."""
        return hmac.compare_digest(self.headers.get(header.lower(), "").encode(), expected.encode())


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhook of a provider. Each function gets the session's settings as last argument.

    `challenge` answers the set-up request from its query, or returns None to refuse it.
    """

    is_authentic: Callable[[WebhookCall, Mapping[str, Any]], bool]
    parse: Callable[[bytes, Mapping[str, Any]], Report]
    challenge: Callable[[Mapping[str, str], Mapping[str, Any]], str | None] | None = None


class MediaIds(Protocol):
    """A provider's ids of a session's uploaded attachments, shared by all processes.

    `known` reads memory; the other methods use the database, so conversations call them in a
    thread.
    """

    def known(self, attachment_id: str) -> str | None:
        """Return the provider's id of an attachment if this process knows a valid one."""

    def get(self, attachment_id: str) -> str | None:
        """Return the provider's id of an attachment while it is valid."""

    def reserve(self, attachment_id: str, *, seconds: float) -> bool:
        """Reserve an upload that takes at most `seconds`.

        Return False if another process is uploading it or it is done. `put` or `forget` ends it.
        """

    def put(self, attachment_id: str, provider_id: str, *, lifetime: float) -> None:
        """Remember an upload for `lifetime` seconds."""

    def forget(self, attachment_id: str, provider_id: str = "") -> None:
        """Forget an id that the provider no longer knows; an empty id means a failed upload.

        An id that another process has stored in the meantime stays.
        """


@dataclass(frozen=True, slots=True)
class Account:
    """A session for a driver: its settings and credentials, without the database row."""

    session_id: str
    settings: Mapping[str, Any] = field(repr=False)
    media: MediaIds


@dataclass(frozen=True, slots=True)
class DriverContext:
    """The settings and services that a driver may use. Times in seconds, sizes in bytes.

    `private_addresses`: a session's URL may lead to this machine or its private network, for
    example to a self-hosted provider. Keep it off if you do not trust the clients.
    `public_url` is where the internet reaches this service, empty where it does not.
    """

    sandbox_store: Path
    connect_timeout: float = 5.0
    send_timeout: float = 30.0
    response_limit: int = 1_000_000
    proxy: str = ""
    private_addresses: bool = False
    public_url: str = ""

    def webhook_url(self, session_id: str) -> str:
        """Return the address of a session's webhook, empty where `PUBLIC_URL` is not set."""
        return self.public_url and f"{self.public_url.rstrip('/')}/webhook/{session_id}"


class Driver(Protocol):
    """The code of a channel, for one session. Several threads use it at once.

    A driver does no I/O. `send`, `may_repeat` and `check` are conversations: generators that yield
    steps (`service.channels.steps`) and get their results.

    `reaches_groups`: a recipient may be a WhatsApp group (`…@g.us`).
    `echoes_references`: receipts contain our reference; otherwise message ids are stored.
    `concurrency`: the most messages that a session sends at the same time; None: no limit.
    `webhook`: how to read the provider's webhooks; None if it has none.
    `Settings` loads the session's settings. A field with `metadata={"secret": True}` is encrypted
    at rest and never returned.
    """

    name: ClassVar[str]
    reaches_groups: ClassVar[bool]
    reaches_user_ids: ClassVar[bool]
    has_templates: ClassVar[bool]
    echoes_references: ClassVar[bool]
    concurrency: ClassVar[int | None]
    webhook: ClassVar[Webhook | None]
    Settings: ClassVar[type[Schema]]

    def __init__(self, account: Account, context: DriverContext) -> None:
        """Create the driver without I/O: the caller may hold a lock."""

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Split a message into parts to send in order; raises UnsupportedContentError."""

    def segments(self, text: str) -> int | None:
        """Return how many SMS a text takes, None on a channel where it is one message."""

    def prepare(self, part: Part) -> Any:
        """Render the part of a message that is the same for every recipient, without I/O."""

    def send(self, recipient: str, prepared: Any, reference: str) -> Conversation[str]:
        """Send a prepared part and return the provider's message id; raises SendError.

        `recipient` is E.164 digits without `+`, or an id ending in `@g.us`.
        """

    def may_repeat(self, part: Part) -> Conversation[bool]:
        """Return whether sending this part twice with one reference delivers it once.

        This is asked after the death of a process that may have sent it. A living process reports
        it with UncertainError. It may ask the provider; raises SendError if it cannot find out.
        """

    def check(self) -> Conversation[None]:
        """Ask the provider whether this account can send; raises SendError if not."""

    def templates(self) -> Conversation[list[TemplateInfo]]:
        """Ask the provider for the account's templates; raises SendError."""
