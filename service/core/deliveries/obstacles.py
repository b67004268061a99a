"""Obstacles: why a delivery cannot go on by a way, or by any."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import Row, select
from sqlalchemy.orm import Session as Db

from service.channels.errors import BlockedError
from service.channels.registry import Channels, UnknownChannelError
from service.core.deliveries.opted_out import OPTED_OUT
from service.core.entries import is_user_id, is_whatsapp_group
from service.database import pieces
from service.models import ClientOptOut, OptOut

UNREACHABLE: Final = "unreachable_by_channel"
"""The code of a way whose channel does not take this kind of recipient."""


class Obstacle(NamedTuple):
    """Why a way is skipped."""

    code: str
    reason: str


_DELETED: Final = Obstacle("session_deleted", "The session of this way was deleted.")
_REFUSES: Final = Obstacle("opted_out", OPTED_OUT)


class Obstacles:
    """Who has opted out of what, among the recipients of some deliveries."""

    def __init__(self, db: Db, channels: Channels, people: Collection[str]) -> None:
        self._channels = channels
        self._of_sessions: set[tuple[str, str]] = set()
        self._of_clients: set[tuple[str, str]] = set()
        for some in pieces([*people]):
            mine = select(OptOut.session_id, OptOut.recipient).where(OptOut.recipient.in_(some))
            self._of_sessions |= {(row[0], row[1]) for row in db.execute(mine)}
            every = select(ClientOptOut.client_id, ClientOptOut.recipient)
            found = db.execute(every.where(ClientOptOut.recipient.in_(some)))
            self._of_clients |= {(row[0], row[1]) for row in found}

    def forbid_all(self, client_id: str, recipient: str) -> bool:
        """Return whether a person wants no message from any session of a client."""
        return (client_id, recipient) in self._of_clients

    def of(self, way: Row[tuple[object, ...]], recipient: str) -> Obstacle | None:
        """Return why a recipient cannot be sent to by a way (`session_id`, `channel`)."""
        if way.session_id is None:
            return _DELETED
        if (way.session_id, recipient) in self._of_sessions:
            return _REFUSES
        return unreachable(self._channels, way.channel, recipient)


def unreachable(channels: Channels, channel: str, recipient: str) -> Obstacle | None:
    """Return why a channel reaches no recipients of a kind, None if it does."""
    kind = _kind(recipient)
    if kind is None:
        return None
    try:
        driver = channels.driver_class(channel)
    except (UnknownChannelError, BlockedError):
        return None  # its session will be held, with the reason
    reaches = driver.reaches_groups if kind == _GROUPS else driver.reaches_user_ids
    return None if reaches else Obstacle(UNREACHABLE, f"The channel {channel} takes no {kind}.")


_GROUPS: Final = "WhatsApp groups"
_USER_IDS: Final = "WhatsApp user ids"


def _kind(recipient: str) -> str | None:
    """Return what a recipient is that not every channel takes, None for a number."""
    if is_whatsapp_group(recipient):
        return _GROUPS
    return _USER_IDS if is_user_id(recipient) else None
