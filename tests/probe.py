"""A channel for tests: each test says what its driver does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from marshmallow import Schema

from service.channels.base import (
    Account,
    Content,
    Part,
    SendError,
    Surroundings,
    Text,
    Webhook,
)


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
        self.surroundings: list[Surroundings] = []
        self.closed = threading.Event()
        self.may_repeat: Callable[[Part], bool] = lambda _part: False
        self.open: Callable[[Account], object] = lambda _account: None
        self.plan: Callable[[Content], tuple[Part, ...]] = _words
        self.send: Callable[[Call], Any] = lambda call: f"id-{call.reference}"
        self.may_send_many: Callable[[], bool] = lambda: True
        self.at_once: list[int] = []
        self.check: Callable[[], None] = lambda: None

    def recipients(self) -> list[str]:
        return [call.recipient for call in list(self.calls)]


class Probe:
    """A driver that does what the stage says."""

    name: ClassVar[str] = "probe"
    reaches_groups: ClassVar[bool] = True
    echoes_references: ClassVar[bool] = True
    webhook: ClassVar[Webhook | None] = None
    Settings: ClassVar[type[Schema]] = Schema
    stage: ClassVar[Stage]

    def __init__(self, account: Account, surroundings: Surroundings) -> None:
        self.stage.open(account)
        self.stage.surroundings.append(surroundings)
        self.stage.opened.append(account)

    def plan(self, content: Content) -> tuple[Part, ...]:
        return self.stage.plan(content)

    def prepare(self, part: Part) -> str:
        return part.body if isinstance(part, Text) else type(part).__name__

    def send(self, recipient: str, prepared: str, reference: str) -> str:
        call = Call(recipient, prepared, reference)
        self.stage.calls.append(call)
        taken: str = self.stage.send(call)
        return taken

    def may_repeat(self, part: Part) -> bool:
        return self.stage.may_repeat(part)

    def check(self) -> None:
        self.stage.check()

    def close(self) -> None:
        self.stage.closed.set()


class ProbeOfMany(Probe):
    """The same, for several recipients at once."""

    def may_send_many(self, prepared: str) -> bool:
        del prepared
        return self.stage.may_send_many()

    def send_many(
        self, messages: Sequence[tuple[str, str]], prepared: str
    ) -> list[str | Exception]:
        self.stage.at_once.append(len(messages))
        return [self._answer(recipient, prepared, reference) for recipient, reference in messages]

    def _answer(self, recipient: str, prepared: str, reference: str) -> str | SendError:
        try:
            return self.send(recipient, prepared, reference)
        except SendError as error:
            return error


def _words(content: Content) -> tuple[Part, ...]:
    """Cut a text into a part a word."""
    return tuple(Text(word) for word in content.text.split())
