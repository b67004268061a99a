"""Conversations without a server, where a test says what is answered, and over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, cast

from service.channels.answers import Answer
from service.channels.base import DriverContext
from service.channels.conversations import Conversations, Talk
from service.channels.errors import SendError
from service.channels.steps import (
    BatchEntry,
    Call,
    Conversation,
    Method,
    Pause,
    Request,
    Step,
    T,
    Wait,
)

_numbers = count(1)


@dataclass
class Held(Generic[T]):
    """How a conversation went: what it asked for, and its result or error."""

    requests: list[Request] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    returned: T | None = None
    error: Exception | None = None

    @property
    def result(self) -> T:
        """Return what the conversation returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return cast("T", self.returned)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Return the JSON of each request that sent a message."""
        return [json.loads(each.body) for each in self.requests if each.once]

    @property
    def paths(self) -> list[str]:
        """Return the last piece of the path of each request."""
        return [each.url.rpartition("/")[2] for each in self.requests]


def converse(conversation: Conversation[T], *answers: Answer | SendError | None) -> Held[T]:
    """Carry a conversation out: its requests get these answers, and for None the usual one.

    When the answers are used up, the usual ones follow. Calls are made at once, and nobody waits
    for a pause.
    """
    held: Held[T] = Held()
    script = list(answers)
    outcome: Any = None
    while True:
        resume = conversation.throw if isinstance(outcome, Exception) else conversation.send
        try:
            step: Step = resume(outcome)
        except StopIteration as stop:
            held.returned = stop.value
            break
        except Exception as error:  # noqa: BLE001 - the test looks at it
            held.error = error
            break
        outcome = _do(step, held, script)
    assert not script, f"not asked for: {script}"
    return held


def carry_out(
    context: DriverContext,
    conversations: Mapping[str, Conversation[Any]],
    *,
    at_once: int = 1_000,
    may_begin: Callable[[str], bool] = lambda _token: True,
) -> dict[str, Talk]:
    """Carry out conversations over real HTTP, so many at once; return their ends by token."""
    under_way, left = Conversations(context, may_begin), list(conversations.items())
    ended: dict[str, Talk] = {}
    while left or len(ended) < len(conversations):
        while left and len(under_way) < at_once:
            under_way.begin(*left.pop())
        ended |= {each.token: each for each in under_way.turn(1.0)}
    under_way.close()
    return ended


def said(status: int, body: Any = b"", *, wait: float = 0.0, **headers: str) -> Answer:
    """Return an answer; a body that is not bytes is JSON, `x_odd` names the header `X-Odd`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = (f"{name.replace('_', '-')}: {value}\r\n".encode() for name, value in headers.items())
    return Answer(status, raw, wait, tuple(lines))


def usual(request: Request) -> Answer:
    """Return what the vendor answers when all is well."""
    path = request.url.rpartition("/")[2]
    number = f"{next(_numbers):020X}"
    if path == "messages":
        return said(200, {"messages": [{"id": f"wamid.{number}"}]})
    if path == "media":
        return said(200, {"id": "1000000"})
    if path == "new-message-id":
        return said(200, {"id": f"3EB0{number}"})
    if path == "default":
        return said(200, {"status": "WORKING"})
    assert request.method is Method.POST, request.url
    message: Mapping[str, Any] = json.loads(request.body)
    return said(201, {"id": f"true_{message['chatId']}_{message.get('id') or f'3EB0{number}'}"})


def _do(step: Step, held: Held[Any], script: list[Answer | SendError | None]) -> Any:
    if isinstance(step, Request):
        held.requests.append(step)
        answer = script.pop(0) if script else None
        return usual(step) if answer is None else answer
    if isinstance(step, Pause):
        held.pauses.append(step.seconds)
        return None
    assert not isinstance(step, BatchEntry), "batches need real conversations"
    return _call(step)


def _call(step: Call | Wait) -> Any:
    try:
        return step.function() if isinstance(step, Call) else step.begin().result()
    except Exception as error:  # noqa: BLE001 - it is thrown into the conversation
        return error
