"""What a provider's message ids mean: which part of which delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session as Db

from service.core.deliveries.progress import VOID
from service.database import insert_new
from service.models import SentPart

MOST_BROADCASTS: Final = 1_000
"""How many of a session's newest broadcasts are searched for a recipient."""

MOST_LOOKS: Final = 20_000
"""The most index look-ups at once: about 50 ms. Many receipts at once are about current messages;
those that are not found are tried again later."""


class Place(NamedTuple):
    """A part of a delivery."""

    delivery_id: str
    part: int


class PartSent(NamedTuple):
    """A part that a provider accepted, with the provider's message id."""

    session_id: str
    message_id: str
    delivery_id: str
    part: int


def remember(db: Db, parts: Sequence[PartSent]) -> None:
    """Store the provider's ids of parts, for channels whose receipts contain only those."""
    insert_new(db, SentPart, [part._asdict() for part in parts])


def find(
    db: Db, session_id: str, recipients: dict[str, str], looks: int = MOST_LOOKS
) -> dict[str, Place]:
    """Find the parts of a session's messages; `recipients` are by message id.

    Each value has the forms of one recipient, separated by spaces.

    Channels that return our reference have no row per message. For them, search the deliveries to
    the recipient in the session's newest broadcasts, by index, with at most `looks` look-ups.
    """
    remembered = select(SentPart.message_id, SentPart.delivery_id, SentPart.part).where(
        SentPart.session_id == session_id, SentPart.message_id.in_(recipients)
    )
    found = {row[0]: Place(row[1], row[2]) for row in db.execute(remembered)}
    wanted = {each: who for each, who in recipients.items() if who and each not in found}
    return found | _found_by_recipient(db, session_id, wanted, looks)


_BY_RECIPIENT = text("""
    SELECT d.id, d.message_ids
    FROM (SELECT id FROM broadcasts WHERE session_id = :session_id ORDER BY id DESC LIMIT :newest)
        AS b
    JOIN deliveries AS d ON d.broadcast_id = b.id AND d.recipient IN :recipients
    WHERE d.message_ids IS NOT NULL
""").bindparams(bindparam("recipients", expanding=True))


def _found_by_recipient(
    db: Db, session_id: str, wanted: dict[str, str], looks: int
) -> dict[str, Place]:
    found: dict[str, Place] = {}
    if wanted:
        people = [*{form for forms in wanted.values() for form in forms.split()}]
        newest = min(MOST_BROADCASTS, looks // len(people))
        values = {"session_id": session_id, "newest": newest, "recipients": people}
        for delivery_id, message_ids in db.execute(_BY_RECIPIENT, values):
            for part, message_id in enumerate(message_ids.split()):
                known_as = message_id.removeprefix(VOID)
                if known_as in wanted:
                    found[known_as] = Place(delivery_id, part)
    return found
