"""Contact values: fills the recipients' variables from a client's contacts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session as Db

from service.core.recipient_lists import Recipients
from service.core.variables import Variables
from service.models import Contact

_LOOKED_UP: Final = 10_000
"""Numbers in one query. SQLite allows 32,766 parameters."""

_NAME: Final = "name"


def supply(db: Db, client_id: str, people: Recipients, names: Collection[str]) -> Recipients:
    """Add values from contacts where recipients lack them.

    A contact is found by its first phone; among several, the oldest counts. `name` is the contact's
    name, unless the contact has a field `name`.
    """
    before = people.variables
    counts: Mapping[str, int] = before.counts if before else {}
    lacking = [name for name in names if counts.get(name, 0) < len(people.unique)]
    if not lacking or not _has_contacts(db, client_id):
        return people
    brought = Variables(seen=set(before.seen) if before else set())
    for start in range(0, len(people.unique), _LOOKED_UP):
        numbers = people.unique[start : start + _LOOKED_UP]
        known = dict(_known(db, client_id, numbers, lacking))
        for place, number in enumerate(numbers, start):
            own = before.of(place) if before else {}
            brought.add({**known.get(number, {}), **own})
    return replace(people, variables=brought)


def _has_contacts(db: Db, client_id: str) -> bool:
    mine = select(Contact.id).where(Contact.client_id == client_id)
    return db.scalar(mine.limit(1)) is not None


def _known(
    db: Db, client_id: str, numbers: Sequence[str], names: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield numbers with the values of their contacts, the oldest contact last."""
    columns = select(Contact.number, Contact.name, Contact.fields)
    mine = columns.where(Contact.client_id == client_id, Contact.number.in_(numbers))
    for contact in db.execute(mine.order_by(Contact.id.desc())):
        values = {_NAME: contact.name, **(contact.fields or {})}
        yield contact.number, {name: values[name] for name in names if values.get(name)}
