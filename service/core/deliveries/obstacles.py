"""Obstacles: why a delivery cannot use a way, or any way."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session as Db

from service.channels.errors import BlockedError
from service.channels.registry import Channels, UnknownChannelError
from service.channels.wa_ids import spellings
from service.core import identities
from service.core.deliveries.opted_out import OPTED_OUT
from service.core.entries import is_user_id, is_whatsapp_group
from service.database import pieces
from service.models import Broadcast, ClientOptOut, Delivery, OptOut, RecipientChunk

UNREACHABLE: Final = "unreachable_by_channel"
"""The code of a way whose channel does not take this kind of recipient."""


class Obstacle(NamedTuple):
    """Why a way is skipped."""

    code: str
    reason: str


class NamedRecipient(NamedTuple):
    """A recipient of a client's broadcast."""

    client_id: str
    broadcast_id: str
    recipient: str


_DELETED: Final = Obstacle("session_deleted", "The session of this way was deleted.")
_REFUSES: Final = Obstacle("opted_out", OPTED_OUT)


class Obstacles:
    """The opt-outs of the recipients of some deliveries."""

    def __init__(self, db: Db, channels: Channels, people: Collection[NamedRecipient]) -> None:
        self._channels = channels
        self._numbers = _numbers(db, people)
        self._given: set[tuple[str, str]] = set()
        self._of_sessions: set[tuple[str, str]] = set()
        self._of_clients: set[tuple[str, str]] = set()
        for some in pieces([*{each.recipient for each in people}, *self._numbers.values()]):
            mine = select(OptOut.session_id, OptOut.recipient).where(OptOut.recipient.in_(some))
            self._of_sessions |= {(row[0], row[1]) for row in db.execute(mine)}
            every = select(ClientOptOut.client_id, ClientOptOut.recipient)
            found = db.execute(every.where(ClientOptOut.recipient.in_(some)))
            self._of_clients |= {(row[0], row[1]) for row in found}

    def forbid_all(self, client_id: str, recipient: str) -> bool:
        """Return whether a person wants no message from any session of a client."""
        return (client_id, recipient) in self._of_clients

    def address(self, way: Row[tuple[object, ...]], whom: NamedRecipient) -> str:
        """Return the address for a way: the person's number if the way's channel takes no user ids.

        Each way gets an address only once, so that nobody gets a message twice.
        """
        number = self._numbers.get(whom)
        if number is None or not unreachable(self._channels, way.channel, whom.recipient):
            return whom.recipient
        given = (way.id, number)
        if given in self._given:
            return whom.recipient
        self._given.add(given)
        return number

    def of(self, way: Row[tuple[object, ...]], recipient: str) -> Obstacle | None:
        """Return why a way (`session_id`, `channel`) cannot send to a recipient."""
        if way.session_id is None:
            return _DELETED
        if (way.session_id, recipient) in self._of_sessions:
            return _REFUSES
        return unreachable(self._channels, way.channel, recipient)


def _numbers(db: Db, people: Collection[NamedRecipient]) -> dict[NamedRecipient, str]:
    """Return the numbers of people named by a user id.

    It leaves out people who have, or may have, another delivery of the same broadcast under their
    number.
    """
    named = [each for each in people if is_user_id(each.recipient)]
    known: dict[tuple[str, str], str] = {}
    for client_id in {each.client_id for each in named}:
        mine = [each.recipient for each in named if each.client_id == client_id]
        numbers = identities.numbers(db, client_id, mine)
        known |= {(client_id, user_id): number for user_id, number in numbers.items()}
    found = {each: known[key] for each in named if (key := (each[0], each[2])) in known}
    there = _there(db, {each.broadcast_id for each in found}, found.values()) if found else set()
    return {
        each: number
        for each, number in found.items()
        if not any((each.broadcast_id, form) in there for form in (None, *spellings(number)))
    }


def _there(
    db: Db, broadcast_ids: Collection[str], numbers: Iterable[str]
) -> set[tuple[str, str | None]]:
    """Return which numbers broadcasts and their ways have already; None: some are still to come."""
    coming = select(RecipientChunk.broadcast_id).where(
        RecipientChunk.broadcast_id.in_(broadcast_ids)
    )
    there: set[tuple[str, str | None]] = {(each, None) for each in db.scalars(coming.distinct())}
    family = func.coalesce(Broadcast.parent_id, Broadcast.id)
    of_family = or_(Broadcast.id.in_(broadcast_ids), Broadcast.parent_id.in_(broadcast_ids))
    mine = select(family, Delivery.recipient).join(Broadcast, Broadcast.id == Delivery.broadcast_id)
    for some in pieces([form for number in numbers for form in spellings(number)]):
        rows = db.execute(mine.where(of_family, Delivery.recipient.in_(some)))
        there |= {(row[0], row[1]) for row in rows}
    return there


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
    """Return the kind of a recipient that not every channel accepts; None for a number."""
    if is_whatsapp_group(recipient):
        return _GROUPS
    return _USER_IDS if is_user_id(recipient) else None
