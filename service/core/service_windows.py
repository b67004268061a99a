"""Service windows: the 24 hours after a person wrote, in which WhatsApp takes free texts.

https://developers.facebook.com/docs/whatsapp/pricing#customer-service-windows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from service.channels.base import Driver
from service.channels.content import Content, UnsupportedContentError
from service.core.personalisation import Personalisation, PersonalisedParts
from service.models import Reply

OUTSIDE: Final = "outside_window"
"""A template's `when`, by which people inside the window get the rest of the message instead."""

_OPEN: Final = 24 * 3_600_000 - 60_000
"""Milliseconds for which a window is used: a minute less than it is open."""

_OF_SYSTEM: Final = "%\\_changed\\_%"
"""The kinds of replies that nobody wrote."""

_IN_ONE_STATEMENT: Final = 500


class Halves(NamedTuple):
    """The two forms of a message: for people inside the window, and for all others."""

    inside: Content
    outside: Content


def split(content: Content) -> Halves | None:
    """Return the two forms of a message, None if everybody gets the same."""
    if content.template is None or content.template.when != OUTSIDE:
        return None
    return Halves(replace(content, template=None), Content(template=content.template))


def cut(
    driver: Driver, content: Content, personalisation: Personalisation | None
) -> PersonalisedParts:
    """Split a message into parts, as somebody outside the window gets it.

    Raises UnsupportedContentError, also if the other form of it is not one part.
    """
    halves = split(content)
    if halves is None:
        return PersonalisedParts(driver, content, personalisation)
    inside = PersonalisedParts(driver, halves.inside, personalisation)
    if len(inside.parts) != 1:
        reason = (
            'With "when": "outside_window" the rest of the message must be one part: a text, or one'
            f" file with its caption. It has {len(inside.parts)} parts."
        )
        raise UnsupportedContentError("message.template.when", reason)
    return PersonalisedParts(driver, halves.outside, personalisation)


def inside(db: Db, session_id: str, people: Sequence[str], *, now: int) -> set[str]:
    """Return which people wrote to a session in the last 24 hours."""
    found: set[str] = set()
    for start in range(0, len(people), _IN_ONE_STATEMENT):
        wrote = (
            select(Reply.recipient)
            .where(
                Reply.recipient.in_(people[start : start + _IN_ONE_STATEMENT]),
                Reply.session_id == session_id,
                Reply.written_at > now - _OPEN,
                Reply.kind.not_like(_OF_SYSTEM, escape="\\"),
            )
            .distinct()
        )
        found |= set(db.scalars(wrote))
    return found
