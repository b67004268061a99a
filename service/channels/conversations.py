"""Runs the conversations of drivers: many at once in one thread, or a single one to its end."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from service.channels.base import DriverContext
from service.channels.exchanges import Exchanges
from service.channels.names import LOOKING, Names, host_of
from service.channels.steps import (
    BatchEntry,
    Call,
    Conversation,
    NotAllowedError,
    Pause,
    Request,
    Step,
    T,
    Wait,
)


@dataclass(slots=True, eq=False)
class Talk:
    """A conversation with its token. When it has ended, its result or its error.

    `members` are the conversations that a batch sends for.
    """

    token: Any
    conversation: Conversation[Any]
    result: Any = None
    error: Exception | None = None
    members: tuple[Talk, ...] = ()


class _Pausing(NamedTuple):
    until: float
    number: int
    talk: Talk
    may_break: bool


class Conversations:
    """The conversations of one thread.

    `may_begin` is called with the token before each step that must not be repeated. If it returns
    False, the conversation is resumed with NotAllowedError. Other threads may call only `wake`.
    """

    def __init__(
        self, context: DriverContext, may_begin: Callable[[Any], bool] = lambda _token: True
    ) -> None:
        self._exchanges = Exchanges(context)
        self._may_begin = may_begin
        self._pauses: list[_Pausing] = []
        self._numbers = itertools.count()
        self._calling = 0
        self._called: deque[tuple[Talk, Future[Any], Request | None]] = deque()
        is_checked = context.proxy and not context.private_addresses
        self._names = Names() if is_checked else None
        self._ended: list[Talk] = []
        self._gathered: dict[Hashable, dict[Hashable, tuple[Talk, BatchEntry]]] = {}
        self.wake = self._exchanges.wake
        self.close = self._exchanges.close

    def __len__(self) -> int:
        """Return how many conversations are under way."""
        gathered = sum(map(len, self._gathered.values()))
        return len(self._exchanges) + len(self._pauses) + self._calling + gathered

    def begin(self, token: Any, conversation: Conversation[Any]) -> None:
        """Start a conversation; `turn` returns its end."""
        self._resume(Talk(token, conversation), conversation.send, None)

    @property
    def waited(self) -> float:
        """How many seconds all turns have spent waiting."""
        return self._exchanges.waited

    def gather(self, seconds: float) -> None:
        """Let turns that had to wait collect answers for so long, because many are expected."""
        self._exchanges.gathering = seconds

    def turn(self, longest: float) -> list[Talk]:
        """Wait up to `longest` seconds for events; return the ended conversations.

        First, batches leave: whatever began since the last turn goes together.
        """
        for key in list(self._gathered):
            self._send_off(key)
        if self._ended or self._called:
            longest = 0.0
        elif self._pauses:
            longest = max(0.0, min(longest, self._pauses[0][0] - time.monotonic()))
        for talk, answer in self._exchanges.turn(longest):
            conversation = talk.conversation
            failed = isinstance(answer, Exception)
            self._resume(talk, conversation.throw if failed else conversation.send, answer)
        while self._called:
            self._calling -= 1
            self._take_result(*self._called.popleft())
        while self._pauses and self._pauses[0][0] <= time.monotonic():
            talk = heapq.heappop(self._pauses).talk
            self._resume(talk, talk.conversation.send, None)
        ended, self._ended = self._ended, []
        return ended

    def break_pauses(self, error: Exception) -> None:
        """Raise an error in conversations whose pauses may break, because the process ends."""
        broken = [each.talk for each in self._pauses if each.may_break]
        self._pauses = [each for each in self._pauses if not each.may_break]
        heapq.heapify(self._pauses)
        for talk in broken:
            self._resume(talk, talk.conversation.throw, error)

    def _take_result(self, talk: Talk, done: Future[Any], waiting: Request | None) -> None:
        """Resume a conversation with the result of a call, or begin the request after it."""
        if waiting is not None and not done.exception():
            self._resume(talk, lambda _result: waiting, None)
        elif error := done.exception():
            self._resume(talk, talk.conversation.throw, error)
        else:
            self._resume(talk, talk.conversation.send, done.result())

    def _resume(self, talk: Talk, resume: Callable[[Any], Step], value: Any) -> None:
        """Run a conversation to its next step or its end; never raises."""
        while True:
            try:
                step = resume(value)
            except StopIteration as stop:
                talk.result = stop.value
                break
            except Exception as error:  # noqa: BLE001 - the owner of the token gets it
                talk.error = error
                break
            try:
                self._begin_step(talk, step)
            except Exception as error:  # noqa: BLE001 - the conversation gets it
                resume, value = talk.conversation.throw, error
            else:
                return
        if talk.members:
            self._hand_out(talk)
        else:
            self._ended.append(talk)

    def _begin_step(self, talk: Talk, step: Step) -> None:
        if self._names and isinstance(step, Request) and not self._names.is_known(step.url):
            look_up = partial(self._names.look_up, step.url)
            # A name that has no answer keeps no thread from another one.
            self._call(talk, Call(LOOKING, look_up, owner=host_of(step.url)), step)
            return
        if step.once and not (
            self._may_all_begin(talk) if talk.members else self._may_begin(talk.token)
        ):
            raise NotAllowedError
        if isinstance(step, Request):
            self._exchanges.begin(step, talk)
        elif isinstance(step, Pause):
            until = time.monotonic() + step.seconds
            number = next(self._numbers)
            heapq.heappush(self._pauses, _Pausing(until, number, talk, step.may_break))
        elif isinstance(step, BatchEntry):
            self._gather(talk, step)
        else:
            self._call(talk, step)

    def _may_all_begin(self, batch: Talk) -> bool:
        return all(self._may_begin(each.token) for each in batch.members)

    def _gather(self, talk: Talk, entry: BatchEntry) -> None:
        """Hold a message for others until the next turn, or until a batch is full."""
        if entry.name in self._gathered.get(entry.key, {}):
            self._send_off(entry.key)
        gathered = self._gathered.setdefault(entry.key, {})
        gathered[entry.name] = talk, entry
        if len(gathered) >= entry.most:
            self._send_off(entry.key)

    def _send_off(self, key: Hashable) -> None:
        """Send a batch without the messages that must no longer leave."""
        allowed = []
        for talk, entry in self._gathered.pop(key).values():
            if self._may_begin(talk.token):
                allowed.append((talk, entry))
            else:
                self._resume(talk, talk.conversation.throw, NotAllowedError())
        if allowed:
            conversation = allowed[0][1].send([entry.value for _, entry in allowed])
            batch = Talk(None, conversation, members=tuple(talk for talk, _ in allowed))
            self._resume(batch, conversation.send, None)

    def _hand_out(self, batch: Talk) -> None:
        """Resume the conversations that an ended batch sent for, with their results."""
        outcomes = [batch.error] * len(batch.members) if batch.error else batch.result
        for member, outcome in zip(batch.members, outcomes, strict=True):
            failed = isinstance(outcome, Exception)
            conversation = member.conversation
            self._resume(member, conversation.throw if failed else conversation.send, outcome)

    def _call(self, talk: Talk, step: Call | Wait, waiting: Request | None = None) -> None:
        """Start a call or a wait; `waiting` is the request that begins after it."""
        done = step.begin()
        self._calling += 1
        done.add_done_callback(partial(self._note_called, talk, waiting))

    def _note_called(self, talk: Talk, waiting: Request | None, done: Future[Any]) -> None:
        self._called.append((talk, done, waiting))
        self.wake()


def talk(conversation: Conversation[T], context: DriverContext) -> T:
    """Run one conversation to its end; return its result or raise its error."""
    conversations = Conversations(context)
    try:
        conversations.begin(None, conversation)
        ended: list[Talk] = []
        while not ended:
            ended = conversations.turn(math.inf)
    finally:
        conversations.close()
    if ended[0].error:
        raise ended[0].error
    result: T = ended[0].result
    return result
