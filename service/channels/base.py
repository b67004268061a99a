"""The contract between the dispatcher and a driver.

A driver sends one part to one recipient, or raises the one `SendError` that says why not. It
decides nothing: whether to try again, when, and what becomes of the broadcast is the dispatcher's.
"""

from __future__ import annotations

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
    """The ways in which channels show a file."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Text:
    """A message of words alone."""

    body: str


@dataclass(frozen=True, slots=True)
class Media:
    """A stored attachment, with the caption that goes under it."""

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
    """A pin on the map; coordinates in decimal degrees, as the client wrote them."""

    latitude: str
    longitude: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ContactCard:
    """Somebody's card; `vcard` is the same card rendered as vCard 3.0 (RFC 2426)."""

    name: str
    vcard: str
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A message that the provider approved beforehand.

    `components` fill its gaps, in the provider's own JSON
    (https://developers.facebook.com/docs/whatsapp/cloud-api/guides/send-message-templates).
    """

    name: str
    language: str
    components: tuple[Mapping[str, Any], ...] = ()


Part = Text | Media | Location | ContactCard | Template


@dataclass(frozen=True, slots=True)
class Content:
    """What a broadcast says, resolved: nothing in it needs a look-up any more."""

    text: str = ""
    media: tuple[Media, ...] = ()
    location: Location | None = None
    contact: ContactCard | None = None
    template: Template | None = None


class SendError(Exception):
    """The provider did not take a part; `reason` is a sentence for the sender of the broadcast.

    `code` is the provider's own code or a short word of ours, for programs.
    """

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class RetryableError(SendError):
    """Nothing was sent, a later attempt may succeed, not earlier than `wait` seconds from now."""

    def __init__(self, reason: str, *, code: str = "", wait: float = 0.0) -> None:
        super().__init__(reason, code=code)
        self.wait = wait


class PermanentError(SendError):
    """This recipient cannot be reached; another attempt would fail the same way.

    `opted_out`: because they want no more messages from this account.
    """

    def __init__(self, reason: str, *, code: str = "", opted_out: bool = False) -> None:
        super().__init__(reason, code=code)
        self.opted_out = opted_out


class RequestError(PermanentError):
    """The message itself is refused, for every recipient alike."""


class UnknownCodeError(PermanentError):
    """Refused with a code that the driver does not know: of this recipient, or of the message."""


class BlockedError(SendError):
    """The sending account cannot send now: throttled, logged out, unpaid.

    `wait` in seconds when the provider says how long; None: until somebody mends it.
    """

    def __init__(self, reason: str, *, code: str = "", wait: float | None = None) -> None:
        super().__init__(reason, code=code)
        self.wait = wait


class UncertainError(SendError):
    """The provider may have taken the part: the request left, and no answer came.

    `provider_id`, where it is not empty, is the id that we gave the part: the provider's later
    word uses it, and offering the part again under the same reference delivers it once.
    """

    def __init__(self, reason: str, *, code: str = "", provider_id: str = "") -> None:
        super().__init__(reason, code=code)
        self.provider_id = provider_id


class UnsupportedContentError(Exception):
    """The channel cannot carry a part of this message; `field` names it as the API does."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class ReceiptState(StrEnum):
    """What a provider says later about a part."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider's later word on one part.

    The part is found by our `reference` where the provider gives it back, else by `provider_id`;
    `recipients` are the forms in which it may have been addressed to whom the provider names.
    `error` is set where the part failed, and is what `send` would have raised for the same cause:
    it is judged in the same way.
    """

    provider_id: str
    state: ReceiptState
    reference: str = ""
    recipients: tuple[str, ...] = ()
    error: SendError | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """The provider's later word on the account: why it cannot send, or None if it can."""

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


@dataclass(slots=True)
class Report:
    """What a webhook says; `odd` counts the elements in an unknown form, which are skipped."""

    words: list[Receipt | Notice] = field(default_factory=list)
    inbound: list[Inbound] = field(default_factory=list)
    odd: int = 0

    def __len__(self) -> int:
        """Return how much it says."""
        return len(self.words) + len(self.inbound)

    def objects(self, elements: object) -> Iterator[Mapping[str, Any]]:
        """Yield the objects of a JSON list, or the one that is there; null is an empty list."""
        for element in elements if isinstance(elements, list) else [elements]:
            if isinstance(element, Mapping):
                yield element
            elif element is not None or isinstance(elements, list):
                self.odd += 1


_MOST_BRACKETS: Final = 100_000
"""Of a webhook: 5,000 statuses of Meta's, each with its price, conversation and errors."""


class UnreadableReportError(Exception):
    """What came to the webhook is not JSON."""


def parsed(raw: bytes) -> Any:
    """Read a webhook's JSON; raises UnreadableReportError."""
    if not raw:
        raise UnreadableReportError
    try:
        return documents.read(raw, most_brackets=_MOST_BRACKETS, storable=False)
    except UnreadableDocumentError as error:
        raise UnreadableReportError from error


@dataclass(frozen=True, slots=True)
class Webhook:
    """How a provider reports: each function is handed the session's settings as its last argument.

    `challenge` answers the question that sets a webhook up, from its query, or None to refuse it.
    """

    signature_header: str
    is_authentic: Callable[[bytes, str, Mapping[str, Any]], bool]
    parse: Callable[[bytes, Mapping[str, Any]], Report]
    challenge: Callable[[Mapping[str, str], Mapping[str, Any]], str | None] | None = None


class MediaIds(Protocol):
    """The ids under which a provider already holds a session's attachments; all processes share it.

    `known` looks into memory, everything else into the database: a conversation calls it in a
    thread.
    """

    def known(self, attachment_id: str) -> str | None:
        """Return the provider's id of an attachment if this process knows a valid one."""

    def get(self, attachment_id: str) -> str | None:
        """Return the provider's id of an attachment while it is valid."""

    def reserve(self, attachment_id: str, *, seconds: float) -> bool:
        """Say that an upload begins, which takes so long at most.

        False while it is under way in another process, or done; `put` or `forget` ends it.
        """

    def put(self, attachment_id: str, provider_id: str, *, lifetime: float) -> None:
        """Remember an upload for `lifetime` seconds."""

    def forget(self, attachment_id: str, provider_id: str = "") -> None:
        """Drop an id that the provider no longer knows, or for an empty one an upload that failed.

        An id that another process has put meanwhile stays.
        """


@dataclass(frozen=True, slots=True)
class Account:
    """A session as a driver sees it: its credentials and nothing of the database."""

    session_id: str
    settings: Mapping[str, Any] = field(repr=False)
    media: MediaIds


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What a driver may use of the process it lives in; times in seconds, sizes in bytes.

    `private_addresses`: a session's own URL may lead to this machine or its private network, where
    a self-hosted provider often is; an operator whose clients are strangers leaves it off.
    """

    sandbox_store: Path
    connect_timeout: float = 5.0
    send_timeout: float = 30.0
    response_limit: int = 1_000_000
    proxy: str = ""
    private_addresses: bool = False


class Driver(Protocol):
    """The code of one channel, for one session; used by several threads at once.

    A driver speaks no I/O: `send`, `may_repeat` and `check` are conversations, generators that
    yield steps (`service.channels.steps`) and are resumed with their results.

    `reaches_groups`: a recipient may be a WhatsApp group, an id that ends in `@g.us`.
    `echoes_references`: its receipts name our reference; else its message ids are remembered.
    `concurrency`: messages that one session may have under way; None: no limit of the channel's.
    `webhook`: how its provider reports; None where it does not.
    `Settings` loads the session's settings; a field with `metadata={"secret": True}` is encrypted
    at rest and never shown again.
    """

    name: ClassVar[str]
    reaches_groups: ClassVar[bool]
    echoes_references: ClassVar[bool]
    concurrency: ClassVar[int | None]
    webhook: ClassVar[Webhook | None]
    Settings: ClassVar[type[Schema]]

    def __init__(self, account: Account, surroundings: DriverContext) -> None:
        """Open the account; no I/O, so that it can be made under a lock."""

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Cut a message into the parts that are sent in order; raises UnsupportedContentError."""

    def segments(self, text: str) -> int | None:
        """Return how many SMS a text takes, None on a channel where it is one message."""

    def prepare(self, part: Part) -> Any:
        """Render what is the same for every recipient, once per broadcast; no I/O."""

    def send(self, recipient: str, prepared: Any, reference: str) -> Conversation[str]:
        """Send one prepared part and return the provider's message id; raises SendError.

        `recipient` is E.164 digits without `+`, or an id ending in `@g.us`.
        """

    def may_repeat(self, part: Part) -> Conversation[bool]:
        """Tell whether offering this part twice under one reference delivers it once.

        Asked after a process died that may have sent it; while one lives, UncertainError says the
        same of a part. May ask the provider; raises SendError where it cannot be told.
        """

    def check(self) -> Conversation[None]:
        """Ask the provider whether this account could send; raises SendError if not."""
