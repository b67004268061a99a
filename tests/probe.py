"""A channel for tests: each test says what its driver does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

from marshmallow import Schema

from service.channels import steps
from service.channels.base import Account, DriverContext, TemplateInfo
from service.channels.content import Content, Part, Text
from service.channels.steps import Conversation, result
from service.channels.webhooks import Webhook
from service.channels.workers import Workers

WORKERS = Workers("probe", 32)
"""Threads in which a test's way of sending may block."""


class Call(NamedTuple):
    """What a driver was asked to send."""

    recipient: str
    body: str
    reference: str


class Stage:
    """What the probe drivers of one test do, and what they were asked to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.opened: list[Account] = []
        self.context: list[DriverContext] = []
        self.may_repeat: Callable[[Part], bool] = lambda _part: False
        self.open: Callable[[Account], object] = lambda _account: None
        self.plan: Callable[[Content], tuple[Part, ...]] = _words
        self.send: Callable[[Call], Any] = lambda call: f"id-{call.reference}"
        self.check: Callable[[], None] = lambda: None
        self.segments: Callable[[str], int | None] = lambda _text: None

    def recipients(self) -> list[str]:
        return [call.recipient for call in list(self.calls)]


class Probe:
    """A driver that does what the stage says."""

    name: ClassVar[str] = "probe"
    reaches_groups: ClassVar[bool] = True
    reaches_user_ids: ClassVar[bool] = True
    has_templates: ClassVar[bool] = False
    echoes_references: ClassVar[bool] = True
    concurrency: ClassVar[int | None] = None
    webhook: ClassVar[Webhook | None] = None
    Settings: ClassVar[type[Schema]] = Schema
    stage: ClassVar[Stage]

    def __init__(self, account: Account, context: DriverContext) -> None:
        self.stage.open(account)
        self.stage.context.append(context)
        self.stage.opened.append(account)

    def plan(self, content: Content) -> tuple[Part, ...]:
        return self.stage.plan(content)

    def segments(self, text: str) -> int | None:
        return self.stage.segments(text)

    def prepare(self, part: Part) -> str:
        return part.body if isinstance(part, Text) else type(part).__name__

    def send(self, recipient: str, prepared: str, reference: str) -> Conversation[str]:
        call = Call(recipient, prepared, reference)
        taken: str = yield steps.Call(WORKERS, partial(self._send, call), once=True)
        return taken

    def may_repeat(self, part: Part) -> Conversation[bool]:
        return result(self.stage.may_repeat(part))

    def templates(self) -> Conversation[list[TemplateInfo]]:
        """Return none: the channel has no templates."""
        return result([])

    def check(self) -> Conversation[None]:
        return result(self.stage.check())

    def _send(self, call: Call) -> Any:
        self.stage.calls.append(call)
        return self.stage.send(call)


def _words(content: Content) -> tuple[Part, ...]:
    """Cut a text into a part a word."""
    return tuple(Text(word) for word in content.text.split())
