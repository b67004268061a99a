"""Talks with providers beside deliveries: many at once in one thread, which clients share."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from service.channels.conversations import Talk
from service.channels.places import Places
from service.channels.steps import Conversation
from service.core.accounts import Accounts
from service.dispatch.upkeep.errands import Errands

_PLACES: Final = 128
"""Talks of a loop at the same time. One client has at most half of them."""


class Talks:
    """The talks of one loop. A step takes `CHECK_TIMEOUT` at most; silence keeps nobody waiting."""

    def __init__(self, accounts: Accounts) -> None:
        self._errands = Errands(lambda: accounts.hasty, _PLACES)
        self._places = Places(_PLACES)
        self._waiting: dict[str, deque[tuple[Any, Conversation[Any]]]] = {}

    def __len__(self) -> int:
        """Return how many talks have not ended."""
        return len(self._places) + sum(map(len, self._waiting.values()))

    def add(self, client_id: str, token: Any, conversation: Conversation[Any]) -> None:
        """Start a conversation as soon as its client has a place."""
        self._waiting.setdefault(client_id, deque()).append((token, conversation))

    def turn(self) -> list[Talk]:
        """Wait a little for answers; return the talks that have ended, each with its token."""
        self._begin_some()
        ended = self._errands.turn() if len(self._places) else []
        for talk in ended:
            client_id, talk.token = talk.token
            self._places.give_back(client_id)
        return ended

    def close(self) -> None:
        """Abort the conversations that have not ended."""
        self._errands.close()

    def _begin_some(self) -> None:
        while (client_id := self._places.next(self._waiting)) is not None:
            token, conversation = self._waiting[client_id].popleft()
            if not self._waiting[client_id]:
                del self._waiting[client_id]
            self._places.take(client_id)
            self._errands.begin(client_id, (client_id, token), conversation)
