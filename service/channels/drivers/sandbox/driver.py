"""The sandbox's driver: accepts messages, assigns ids and stores what it received.

Like a good provider it is idempotent: a part that is sent again with the same reference gets the
same id and is stored once. A session can turn that off.

Some recipients behave in a special way, like Twilio's magic numbers
(https://www.twilio.com/docs/iam/test-credentials) and GOV.UK Notify's
(https://docs.notifications.service.gov.uk/rest-api.html#testing). They are in the range 555-0100 to
555-0199, which the North American Numbering Plan reserves for fiction, so they belong to nobody.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import ClassVar, Final

from marshmallow import Schema, fields, validate

from service.channels.base import Account, DriverContext, TemplateInfo
from service.channels.content import Content, Media, Part, Template, Text
from service.channels.drivers.sandbox.store import Message, Prepared, Store
from service.channels.errors import BlockedError, PermanentError, RetryableError, UncertainError
from service.channels.steps import Call, Conversation, Pause, result
from service.channels.webhooks import Webhook
from service.channels.workers import Workers

UNREACHABLE = "12025550101"
RETRIED = "12025550102"
THROTTLED = "12025550103"
UNCERTAIN = "12025550104"
SLOW = "12025550105"
FLAKY = "12025550106"

_STORE_WAIT = 5.0
"""Seconds to hold a session when the sandbox's own disk is full or broken."""

SLOWNESS = 2.0
"""Delay of the slow recipient in seconds."""

MAGIC = {
    UNREACHABLE: "fails for good: not on the channel",
    RETRIED: "fails once; the second attempt succeeds",
    THROTTLED: "is refused once with a wait of 3 seconds, then delivered",
    UNCERTAIN: "is delivered, but the first answer is lost",
    SLOW: f"is delivered after {SLOWNESS:g} seconds",
    FLAKY: "fails at every attempt",
}
"""What the special recipients do, for the documentation."""

_CHOICES: Final = frozenset({"when", "marketing"})
"""What of a template says how it is sent, and is kept only if it is set."""

_STORING: Final = Workers("sandbox", 2)


class Settings(Schema):
    """Settings of the sandbox. All have defaults."""

    idempotent = fields.Boolean(
        load_default=True,
        metadata={"description": "Store a part that is sent twice with one reference only once"},
    )
    latency = fields.Float(
        load_default=0.0,
        validate=validate.Range(min=0, max=60),
        metadata={"description": "Seconds that the answer to each message takes"},
    )
    unreachable = fields.Boolean(
        load_default=False,
        metadata={"description": "Refuse every recipient, as if none were on the channel"},
    )


class Sandbox:
    """A driver that writes messages to the sandbox's store."""

    name: ClassVar[str] = "sandbox"
    reaches_groups: ClassVar[bool] = True
    reaches_user_ids: ClassVar[bool] = True
    has_templates: ClassVar[bool] = False
    echoes_references: ClassVar[bool] = True
    concurrency: ClassVar[int | None] = None
    webhook: ClassVar[Webhook | None] = None
    Settings: ClassVar[type[Schema]] = Settings

    def __init__(self, account: Account, context: DriverContext) -> None:
        """Create the driver; the first message creates the store."""
        self._client_id = account.client_id
        self._session_id = account.session_id
        self._idempotent = bool(account.settings.get("idempotent", True))
        self._latency = float(account.settings.get("latency", 0.0))
        self._unreachable = bool(account.settings.get("unreachable"))
        self._path = context.sandbox_store
        self._most = context.sandbox_bytes

    def plan(self, content: Content) -> tuple[Part, ...]:
        """Split a message into parts: the text first, then the rest in the guide's order."""
        text = (Text(content.text),) if content.text else ()
        others = (content.location, content.contact, content.template)
        extras = tuple(part for part in others if part)
        return (*text, *content.media, *extras)

    def segments(self, text: str) -> int | None:  # noqa: ARG002 - the contract of all drivers
        """Return None: a text is one message."""
        return None

    def prepare(self, part: Part) -> Prepared:
        """Render a part for the store."""
        body = asdict(part)
        if isinstance(part, Media):
            body.pop("path")
        if isinstance(part, Template):
            body = {name: value for name, value in body.items() if name not in _CHOICES or value}
        return Prepared(type(part).__name__.lower(), json.dumps(body))

    def send(self, recipient: str, prepared: Prepared, reference: str) -> Conversation[str]:
        """Store a part and return its id, or behave as the special recipient requires."""
        offer = 0
        if self._unreachable:
            _refuse(UNREACHABLE, 1)
        if recipient in MAGIC:
            offer = yield Call(_STORING, partial(self._count_offer, reference))
            if recipient == SLOW and offer == 1:
                yield Pause(SLOWNESS)
            _refuse(recipient, offer)
        keep = partial(self._keep, recipient, prepared, reference)
        message_id: str = yield Call(_STORING, keep, once=True)
        if self._latency:  # the provider has the message, but answers late
            yield Pause(self._latency)
        if recipient == UNCERTAIN and offer == 1:
            known_as = message_id if self._idempotent else ""
            reason = "The sandbox's answer was lost."
            raise UncertainError(reason, code="no_answer", provider_id=known_as)
        return message_id

    def may_repeat(self, part: Part) -> Conversation[bool]:  # noqa: ARG002 - the contract of all drivers
        """Return whether a repeat with the same reference is dropped."""
        return result(value=self._idempotent)

    def templates(self) -> Conversation[list[TemplateInfo]]:
        """Return none: the channel has no templates."""
        return result([])

    def check(self) -> Conversation[None]:
        """Do nothing: the sandbox can always send."""
        return result(None)

    def _count_offer(self, reference: str) -> int:
        with _trouble_told():
            return Store.at(self._path).count_offer(self._client_id, _delivery(reference))

    def _keep(self, recipient: str, prepared: Prepared, reference: str) -> str:
        message = Message(self._client_id, self._session_id, recipient, reference, prepared)
        with _trouble_told():
            return Store.at(self._path).keep(message, once=self._idempotent, most=self._most)


@contextmanager
def _trouble_told() -> Iterator[None]:
    """Turn errors of the store's disk into BlockedError."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        reason = f"The sandbox cannot write its store ({error})."
        raise BlockedError(reason, code="store", wait=_STORE_WAIT) from error


def _delivery(reference: str) -> str:
    """Return the common prefix of the references of a delivery's parts."""
    return reference.rpartition(".")[0] or reference


def _refuse(recipient: str, offer: int) -> None:
    """Raise the error of a special recipient at this attempt, if any."""
    if recipient == UNREACHABLE:
        raise PermanentError("This number is not on the channel.", code="not_on_channel")
    if recipient == RETRIED and offer == 1:
        raise RetryableError("The sandbox had a temporary error.", code="try_again")
    if recipient == THROTTLED and offer == 1:
        raise RetryableError("Too many messages to this number.", code="rate_limit", wait=3.0)
    if recipient == FLAKY:
        raise RetryableError("The sandbox has a lasting error.", code="try_again")
