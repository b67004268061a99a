"""What providers report by webhook: receipts, replies, and news of the account."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from service import documents
from service.channels.errors import SendError
from service.documents import UnreadableDocumentError


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
    0 where the provider does not say. `file` is what the driver needs to fetch a file that came
    with it, None if none did.
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
    file: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """A person's choice in the provider's own app: no more messages, or messages again.

    `at` is when, in milliseconds of Unix time, 0 where the provider does not say.
    """

    forms: tuple[str, ...]
    stops: bool
    at: int = 0


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
class TemplateNotice:
    """A change of a template; an empty text: no change. `blocks`: it cannot be used any more.

    `at` is when the provider said so, in milliseconds of Unix time, 0 where it does not say.
    """

    name: str
    language: str
    status: str = ""
    quality: str = ""
    reason: str = ""
    blocks: bool = False
    at: int = 0


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

    def add(self, other: Report) -> None:
        """Add the messages of another report on the same account."""
        self.words += other.words
        self.inbound += other.inbound
        self.odd += other.odd

    def objects(self, elements: object) -> Iterator[Mapping[str, Any]]:
        """Yield the objects of a JSON list, or a single object; null is an empty list."""
        for element in elements if isinstance(elements, list) else [elements]:
            # The first test is what JSON is parsed to; the second takes ten times as long.
            if type(element) is dict or isinstance(element, Mapping):
                yield element
            elif element is not None or isinstance(elements, list):
                self.odd += 1


def texts(said: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Return the named fields of a JSON object whose values are texts."""
    return {name: said[name] for name in names if isinstance(said.get(name), str)}


MOST_BRACKETS: Final = 100_000
"""Enough for 5,000 of Meta's statuses, each with price, conversation and errors."""


class UnreadableReportError(Exception):
    """The body of the webhook is not valid JSON."""


def parsed(raw: bytes) -> Any:
    """Parse a webhook's JSON; raises UnreadableReportError."""
    if not raw:
        raise UnreadableReportError
    try:
        return documents.read(raw, most_brackets=MOST_BRACKETS, storable=False)
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
    `signed_with` is the setting with which the provider signs, where sessions may share a webhook.
    """

    is_authentic: Callable[[WebhookCall, Mapping[str, Any]], bool]
    parse: Callable[[bytes, Mapping[str, Any]], Report]
    challenge: Callable[[Mapping[str, str], Mapping[str, Any]], str | None] | None = None
    signed_with: str = ""
