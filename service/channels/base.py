"""The interface between the dispatcher and a driver.

A driver sends one part to one recipient, or raises the `SendError` that says why not. The
dispatcher decides whether and when to try again, and what happens to the broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from marshmallow import Schema

from service.channels.content import Content, Part
from service.channels.links import Link, Links
from service.channels.steps import Conversation, Sink
from service.channels.webhooks import Report, Webhook


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
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class DriverContext:
    """The settings and services that a driver may use. Times in seconds, sizes in bytes.

    `private_addresses`: a session's URL may lead to this machine or its private network, for
    example to a self-hosted provider. Keep it off if you do not trust the clients.
    `public_url` is where the internet reaches this service, empty where it does not. `links` are
    the connections that this process keeps for sessions.
    """

    sandbox_store: Path
    sandbox_bytes: int = 256 << 20
    connect_timeout: float = 5.0
    send_timeout: float = 30.0
    response_limit: int = 1_000_000
    proxy: str = ""
    private_addresses: bool = False
    public_url: str = ""
    links: Links = field(default_factory=Links)

    def webhook_url(self, session_id: str) -> str:
        """Return the address of a session's webhook, empty where `PUBLIC_URL` is not set."""
        return self.public_url and f"{self.public_url.rstrip('/')}/webhook/{session_id}"


@dataclass(frozen=True, slots=True)
class InboundFile:
    """A file that a person sent: its description from the webhook, and where its bytes go.

    `name` is the person's name for it, empty if there is none.
    """

    said: Mapping[str, str]
    sink: Sink

    @property
    def name(self) -> str:
        """Return the file's name as the person had it."""
        return self.said.get("filename", "")


class FetchesFiles(Protocol):
    """A driver that can fetch what people send to the account."""

    def fetch(self, file: InboundFile) -> Conversation[None]:
        """Fetch a file into its sink; raises SendError."""


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


class LinkedDriver(Driver, Protocol):
    """A driver that sends through a link, which one process keeps for its session."""

    def link(self, hear: Callable[[Report], None]) -> Link:
        """Return a link for the account.

        `hear` stores what the provider says. It blocks, and raises an error if nothing is stored.
        """
