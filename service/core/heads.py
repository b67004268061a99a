"""Heads: the beginnings of long recipients and messages, which lists of broadcasts show.

A page has up to 1,000 broadcasts. Whole ones could take hundreds of megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from service.database import pieces
from service.models import Broadcast

LONGEST_MESSAGE: Final = 5_000
"""The most characters of a message as JSON in a list: room for a text of 4,096."""

LONGEST_TO: Final = 16_000
"""The most characters of `to` in a list: room for 1,000 numbers."""

_AT_ONCE: Final = 100
"""Broadcasts per statement. They are whole in memory until they are cut."""

T = TypeVar("T")


class Head(NamedTuple):
    """The beginning of a broadcast's recipients and message, for lists."""

    to: Any
    to_truncated: bool
    message: dict[str, Any]
    message_truncated: bool


def read(db: Db, broadcast_ids: Sequence[str]) -> dict[str, Head]:
    """Return the heads of broadcasts, by id."""
    columns = (Broadcast.id, Broadcast.to, Broadcast.to_truncated, Broadcast.message)
    heads = {}
    for some in pieces(broadcast_ids, _AT_ONCE):
        for row in db.execute(select(*columns).where(Broadcast.id.in_(some))):
            to, message = of_to(row.to), of_message(row.message)
            is_cut = row.to_truncated or to != row.to
            heads[row.id] = Head(to, is_cut, message, message != row.message)
    return heads


def of_message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without the fields that are too long for a list; texts are cut."""
    head: dict[str, Any] = {}
    left = LONGEST_MESSAGE
    for name, value in message.items():
        size = _size({name: value})
        if size <= left:
            head[name] = value
            left -= size
        elif isinstance(value, str) and len(name) < left:
            head[name] = f"{value[: left - len(name)]}…"
            left = 0
    return head


def of_to(to: Any) -> Any:
    """Return the first entries of `to`, as many as a list shows."""
    if isinstance(to, str) and len(to) > LONGEST_TO:
        return to[:LONGEST_TO].rpartition(",")[0]
    return list(_first(to)) if isinstance(to, list) else to


def whole(given: T, stored: T, head: Callable[[T], T]) -> T:
    """Return the stored value if a client sends back its head as a list showed it."""
    return stored if given == head(stored) else given


def _first(entries: list[Any]) -> Iterator[Any]:
    left = LONGEST_TO
    for entry in entries:
        left -= _size(entry)
        if left < 0:
            return
        yield entry


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))
