"""Histories: everything that happened to one delivery, in order and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sqlalchemy.orm import Session as Db

from service.core.deliveries import events
from service.core.delivery_log import Entry
from service.core.ways import Taken
from service.models import Delivery, DeliveryEvent, DeliveryStatus, EventKind


class HistoryEntry(NamedTuple):
    """One line of a history: `what` is for programs, `text` for people.

    `session_id` is the session of the way in which it happened, None for the whole broadcast.
    """

    at: int
    what: str
    text: str
    code: str | None = None
    reason: str | None = None
    part: int | None = None
    next_attempt_at: int | None = None
    session_id: str | None = None


_TEXTS: Final = {
    "accepted": "The broadcast was accepted.",
    "scheduled": "The broadcast was accepted, to be sent later.",
    "sending": "It is being handed over to the provider.",
    "sent": "The provider took the message.",
    "delivered": "The message was delivered.",
    "read": "The message was read.",
    "ended": "It had ended.",
    "failed": "It failed.",
    "cancelled": "It was cancelled before it was sent.",
    "uncertain": "The provider may have the message, or may not.",
    EventKind.RETRYING: "An attempt failed; another one follows.",
    EventKind.HELD: "It was held back before the provider took it.",
    EventKind.REOPENED: "The provider reported a failure later; it is sent again.",
    EventKind.RETRIED: "A retry was asked for; it is sent again.",
    EventKind.RESCUED: "The process that had it under way stopped; it is sent again.",
    EventKind.PASSED_ON: "It goes on by the next way.",
}
_OF_A_PART: Final = {
    "delivered": "A part of the message was delivered.",
    "read": "A part of the message was read.",
}
_ORDER: Final = [
    *(
        "retrying",
        "held",
        "uncertain",
        "ended",
        "retried",
        "sending",
        "sent",
        "failed",
        "cancelled",
    ),
    *("delivered", "read", "reopened", "rescued", "passed_on"),
]
"""The order of what happened in one way in the same millisecond."""

_PROMISES: Final = {EventKind.RETRYING, EventKind.HELD}
_ENDS: Final = {
    DeliveryStatus.FAILED,
    DeliveryStatus.UNCERTAIN,
    DeliveryStatus.CANCELLED,
    DeliveryStatus.HELD,
}


def read(db: Db, entry: Entry, taken: Sequence[Taken]) -> list[HistoryEntry]:
    """Return the history of a delivery in all its ways, oldest entry first."""
    happenings = [*_accepted(entry)]
    for way in taken:
        mine = [*_kept(db, way.delivery), *_of_row(way.delivery)]
        if way.delivery is not entry.delivery and way.step == 0:
            mine += _kept(db, entry.delivery)
        mine.sort(key=lambda each: (each.at, _ORDER.index(each.what)))
        happenings += [each._replace(session_id=way.session_id) for each in mine]
    return sorted(happenings, key=lambda each: each.at)


def _kept(db: Db, delivery: Delivery) -> Iterator[HistoryEntry]:
    for event in events.read(db, delivery.id):
        yield from _told(event)


def _accepted(entry: Entry) -> Iterator[HistoryEntry]:
    broadcast = entry.broadcast
    what = "scheduled" if (broadcast.send_at or 0) > broadcast.created_at else "accepted"
    yield HistoryEntry(broadcast.created_at, what, _TEXTS[what])


def _told(event: DeliveryEvent) -> Iterator[HistoryEntry]:
    """Yield the entry of an event; a retry also yields the end that it undid."""
    if event.kind == EventKind.RETRIED:
        if event.reason and event.other_at is not None:
            yield _line(event.other_at, "ended", event.code, event.reason)
        yield _line(event.at, event.kind)
    elif event.kind == EventKind.PASSED_ON:
        yield _line(event.at, event.kind)
    elif event.kind in _OF_A_PART:
        yield _line(event.at, event.kind)._replace(text=_OF_A_PART[event.kind], part=event.part)
    else:
        due = event.other_at if event.kind in _PROMISES else None
        line = _line(event.at, event.kind, event.code, event.reason)
        yield line._replace(next_attempt_at=due)


def _of_row(delivery: Delivery) -> Iterator[HistoryEntry]:
    """Yield the entries that follow from the row itself."""
    for moment, what in (
        (delivery.sent_at, "sent"),
        (delivery.delivered_at, "delivered"),
        (delivery.read_at, "read"),
    ):
        if moment is not None:
            yield _line(moment, what)
    if delivery.status in _ENDS:
        yield _line(delivery.updated_at, delivery.status, delivery.code, delivery.reason)
    elif delivery.status == DeliveryStatus.SENDING:
        yield _line(delivery.updated_at, "sending")


def _line(at: int, what: str, code: str | None = None, reason: str | None = None) -> HistoryEntry:
    text = f"{_TEXTS[what]} {reason}" if reason else _TEXTS[what]
    return HistoryEntry(at, str(what), text, code, reason)
