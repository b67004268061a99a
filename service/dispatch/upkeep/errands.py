"""Errands: conversations with many others at once in one thread, a few with each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from werkzeug.utils import cached_property

from service.channels.base import DriverContext
from service.channels.conversations import Conversations, Talk
from service.channels.steps import Conversation

_GLANCE: Final = 0.2
"""Seconds that a turn waits for an end."""


class Errands:
    """The conversations under way, at most `most`, counted by their counterpart."""

    def __init__(self, context: Callable[[], DriverContext], most: int) -> None:
        self._context = context
        self._most = most
        self._counts: Counter[str] = Counter()
        self._tokens: dict[int, Any] = {}

    @cached_property
    def _conversations(self) -> Conversations:
        """Return what carries requests; made in the thread that uses it, after any fork."""
        return Conversations(self._context())

    @property
    def room(self) -> int:
        """How many more may begin."""
        return self._most - self._counts.total()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many are under way with each."""
        return self._counts

    @property
    def tokens(self) -> list[Any]:
        """The tokens of the conversations under way."""
        return list(self._tokens.values())

    def begin(self, whom: str, token: Any, conversation: Conversation[Any]) -> None:
        """Begin a conversation; `turn` returns its end with the token."""
        self._counts[whom] += 1
        self._tokens[id(token)] = token
        self._conversations.begin((whom, token), conversation)

    def turn(self) -> list[Talk]:
        """Wait a little for conversations to end; return those that have."""
        ended = self._conversations.turn(_GLANCE)
        for each in ended:
            whom, each.token = each.token
            del self._tokens[id(each.token)]
            self._counts[whom] -= 1
        self._counts += Counter()  # drops what is at zero
        return ended

    def close(self) -> list[Any]:
        """Abort the conversations under way; return their tokens."""
        if "_conversations" in self.__dict__:
            self._conversations.close()
        return self.tokens
