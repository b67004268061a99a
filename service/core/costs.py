"""Costs: what a broadcast costs at its session's prices, and how the provider charges it.

A price applies to a message, or to a segment on channels that count segments. Receipts report how
the provider charges each delivery, without an amount.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session as Db

from service.channels.base import Driver
from service.channels.content import Part, Text
from service.channels.errors import SendError
from service.core import numbers
from service.core.accounts import Accounts
from service.core.entries import is_user_id
from service.core.vault import SealedError
from service.models import Broadcast, Charge, Session

BILLABLE: Final = "billable"
"""The last word of the price class of a delivery that costs something."""

_OTHERS: Final = "*"
"""The name of all countries that have no price of their own."""


class Cost(NamedTuple):
    """The cost of some messages; `unpriced` recipients are in countries without a price."""

    amount: str
    currency: str
    unpriced: int


class BroadcastCost(NamedTuple):
    """The cost of a broadcast; an unknown amount is None.

    `expected`: if everybody gets it. `charged`: the billable deliveries by the receipts so far.
    """

    currency: str
    expected: str | None
    charged: str | None
    unpriced: int


class ChargeKey(NamedTuple):
    """Deliveries of a broadcast to one country that are charged in the same way."""

    broadcast_id: str
    pricing: str
    country: str


def counts_segments(driver: Driver) -> bool:
    """Return whether the provider counts segments instead of messages."""
    return driver.segments("") is not None


def size(driver: Driver, parts: Iterable[Part]) -> int:
    """Return how many messages, or segments, the provider counts for these parts."""
    texts = (driver.segments(part.body) if isinstance(part, Text) else None for part in parts)
    return sum(segments or 1 for segments in texts)


def country(recipient: str) -> str:
    """Return the country of a recipient, such as `NG`; an empty text for a WhatsApp group."""
    if is_user_id(recipient):
        return recipient[:2]
    return numbers.region(recipient) if recipient.isdecimal() else ""


def add_up(prices: Mapping[str, Any], units: Mapping[str, int], people: Mapping[str, int]) -> Cost:
    """Add up prices: `units` are messages or segments by country, `people` are recipients."""
    amount, unpriced = Decimal(0), 0
    by_country = {name: Decimal(str(price)) for name, price in prices["countries"].items()}
    for name, count in units.items():
        price = by_country.get(name, by_country.get(_OTHERS))
        if price is None:
            unpriced += people[name]
        else:
            amount += price * count
    return Cost(f"{amount.normalize():f}", prices["currency"], unpriced)


def of_broadcast(db: Db, broadcast: Broadcast, accounts: Accounts) -> BroadcastCost | None:
    """Return the cost of a broadcast at its session's prices; None without prices."""
    session = db.get(Session, broadcast.session_id) if broadcast.session_id else None
    if session is None or not session.prices:
        return None
    people, each = broadcast.countries or {}, _size_of_each(broadcast, session, accounts)
    units = {name: count * (each or 0) for name, count in people.items()}
    expected = add_up(session.prices, units, people)
    billable = _billable(db, broadcast)
    charged = None if billable is None else add_up(session.prices, billable, billable).amount
    is_known = each is not None and broadcast.countries is not None
    amount = expected.amount if is_known else None
    return BroadcastCost(expected.currency, amount, charged, expected.unpriced)


def charges(db: Db, broadcast_id: str) -> dict[str, int]:
    """Count deliveries of a broadcast, in all ways, by how they are charged; largest first."""
    count = func.sum(Charge.deliveries)
    or_ways = or_(Broadcast.id == broadcast_id, Broadcast.parent_id == broadcast_id)
    of_all = Charge.broadcast_id.in_(select(Broadcast.id).where(or_ways))
    mine = select(Charge.pricing, count).where(of_all)
    rows = db.execute(mine.group_by(Charge.pricing).order_by(count.desc(), Charge.pricing)).all()
    return {pricing: int(number) for pricing, number in rows if number}


_NOTE: Final = text("""
    INSERT INTO charges (broadcast_id, pricing, country, deliveries)
    VALUES (:broadcast_id, :pricing, :country, :count)
    ON CONFLICT (broadcast_id, pricing, country)
        DO UPDATE SET deliveries = charges.deliveries + :count
""")


def note(db: Db, gains: Mapping[ChargeKey, int]) -> None:
    """Count deliveries by how they are charged; their broadcasts are locked."""
    rows = [key._asdict() | {"count": count} for key, count in sorted(gains.items()) if count]
    if rows:
        db.execute(_NOTE, rows)


def _size_of_each(broadcast: Broadcast, session: Session, accounts: Accounts) -> int | None:
    """Return the messages or segments of each recipient, None if they differ or are unknown."""
    try:
        driver = accounts.open(session)
        if not counts_segments(driver):
            return broadcast.parts
        worded = accounts.worded(broadcast, driver)
    except (SendError, SealedError):
        return None
    return None if worded.is_personal else size(driver, worded.parts)


def _billable(db: Db, broadcast: Broadcast) -> Counter[str] | None:
    """Count the billable deliveries of its own session by country, None without receipts."""
    mine = Charge.broadcast_id.in_((broadcast.id, broadcast.first_way_id))
    rows = db.scalars(select(Charge).where(mine)).all()
    found: Counter[str] = Counter()
    for row in rows:
        if is_billable(row.pricing):
            found[row.country] += row.deliveries
    return found if rows else None


def is_billable(pricing: str | None) -> bool:
    """Return whether a delivery of this price class costs something."""
    return bool(pricing) and str(pricing).endswith(BILLABLE)
