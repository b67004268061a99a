"""Audiences: recipients of an earlier broadcast, selected by the state of their deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session as Db

from service.core import broadcasts, entries, frozen, recipients, variables
from service.core.deliveries import invalid
from service.core.recipient_lists import Recipients
from service.core.recipients import Reading, Row
from service.errors import InvalidError, NotFoundError
from service.models import Delivery, DeliveryStatus, Reply, SendType


@dataclass(frozen=True, slots=True)
class Audience:
    """Which recipients of a broadcast: those in one of these states, with one of these codes.

    No states or no codes: any. `replied`: whether they have replied to it; None: either.
    """

    broadcast_id: str
    statuses: Sequence[str] = ()
    codes: Sequence[str] = ()
    replied: bool | None = None

    def condition(self) -> list[ColumnElement[bool]]:
        """Return the condition on their deliveries."""
        mine = [
            Delivery.broadcast_id == self.broadcast_id,
            Delivery.code.is_distinct_from(invalid.CODE),
        ]
        if self.statuses:
            mine.append(Delivery.status.in_(self.statuses))
        if self.codes:
            mine.append(Delivery.code.in_(self.codes))
        if self.replied is not None:
            replies = select(Reply.delivery_id).where(
                Reply.broadcast_id == self.broadcast_id, Reply.delivery_id.is_not(None)
            )
            has_replied = Delivery.id.in_(replies)
            mine.append(has_replied if self.replied else ~has_replied)
        return mine

    @property
    def includes_unsent(self) -> bool:
        """Whether the audience includes recipients who have no delivery yet."""
        if self.codes or self.replied:
            return False
        return not self.statuses or DeliveryStatus.QUEUED in self.statuses


def find(  # noqa: PLR0913 - three of them say whose, three what to return
    db: Db,
    client_id: str,
    audience: Audience,
    *,
    within: str | None,
    send_type: str,
    names: frozenset[str] | None,
    most: int,
) -> Recipients:
    """Return an audience, with the variables in `names` only.

    `send_type` says whether numbers or WhatsApp groups are meant. Raises InvalidError for an
    unknown broadcast, and for an empty audience.
    """
    try:
        broadcasts.get(db, client_id, audience.broadcast_id, within=within)
    except NotFoundError as error:
        raise InvalidError(errors={"audience.broadcast": [error.message]}) from error
    rows = _rows(db, audience, send_type, is_bare=names == frozenset())
    found = recipients.read_rows(rows, Reading(send_type, names), most=most)
    if not found.count:
        reason = "Matches no recipient of that broadcast. Choose other statuses or codes."
        raise InvalidError(errors={"audience": [reason]})
    return found.with_given()


def first(db: Db, audience: Audience) -> tuple[str, dict[str, str]] | None:
    """Return the first recipient of an audience who has a delivery, with its variables."""
    rows = select(Delivery.recipient, Delivery.variables).where(*audience.condition())
    row = db.execute(rows.order_by(Delivery.id).limit(1)).one_or_none()
    return (row.recipient, variables.load(row.variables)) if row else None


def _rows(db: Db, audience: Audience, send_type: str, *, is_bare: bool) -> Iterator[Row]:
    wanted = send_type == SendType.GROUP
    for position, (recipient, text) in enumerate(_found(db, audience)):
        if entries.is_whatsapp_group(recipient) == wanted:
            yield Row(position, recipient, None if is_bare else variables.load(text))


def _found(db: Db, audience: Audience) -> Iterator[tuple[str, str | None]]:
    rows = select(Delivery.recipient, Delivery.variables).where(*audience.condition())
    yield from map(tuple, db.execute(rows.order_by(Delivery.id)))
    if audience.includes_unsent:
        yield from frozen.waiting(db, audience.broadcast_id)
