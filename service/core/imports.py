"""Imports: contacts from a list, matched by number.

A list is read completely before anything is stored. Then it is written in pieces, so that others
can write in between. An interrupted import can be repeated: it changes nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import contacts, usages, variables
from service.core.numbering import Numbering
from service.core.variables import UnusableVariablesError
from service.database import now_ms, pieces
from service.errors import InvalidError
from service.lists import headings
from service.lists.base import Entry
from service.lists.tables import Table
from service.models import Contact

MOST: Final = 100_000
"""The most rows of one import: all of them are held in memory."""

MOST_REFUSED: Final = 1_000
"""The most rows that are told of as refused."""

Normalise = Callable[[str], str | None]

WRITTEN_TOGETHER: Final = 500
_LONGEST_SHOWN: Final = 40
_MOST_LISTED: Final = 50


class Refused(NamedTuple):
    """A row that is not a contact, and why."""

    row: int
    reason: str


@dataclass(slots=True)
class Card:
    """The data of one person in a list."""

    phones: list[str]
    name: str
    emails: list[str]
    organisation: str
    tags: list[str]
    fields: dict[str, str]


@dataclass(slots=True)
class Import:
    """A list that was read: a card for each number, and the refused rows."""

    cards: dict[str, Card] = field(default_factory=dict)
    duplicates: int = 0
    refused: list[Refused] = field(default_factory=list)
    refused_count: int = 0


class Written(NamedTuple):
    """How many contacts were new, changed and unchanged."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0

    def __add__(self, other: object) -> Written:
        """Add the counts of two pieces."""
        return Written(*map(sum, zip(self, other, strict=True)))  # type: ignore[call-overload]


def read(table: Table, numbering: Numbering, tags: Sequence[str] = ()) -> Import:
    """Read a list; each of its contacts gets these tags, too.

    Raises ListError, and InvalidError for more than `MOST` rows or if no row is a contact.
    """
    found = Import()
    way = numbering.way()
    for count, entry in enumerate(table.entries):
        if count >= MOST:
            reason = f"Has more than {MOST:,} rows: import it in parts."
            raise InvalidError(errors={"contacts": [reason]})
        if any(map(way[0], entry.numbers)):
            _take(found, entry, way[0], tags)
        else:
            written = entry.numbers[0] if entry.numbers else ""
            _refuse(found, entry.row, f"{written[:_LONGEST_SHOWN]!r} {way[1](written)}")
    if not found.cards:
        raise InvalidError(errors=_errors(table, found))
    return found


def batches(found: Import) -> Iterator[Sequence[tuple[str, Card]]]:
    """Yield the cards by number, in batches that are written together."""
    return pieces(list(found.cards.items()), WRITTEN_TOGETHER)


def write(db: Db, client_id: str, cards: Iterable[tuple[str, Card]]) -> Written:
    """Store new contacts, and add to existing ones without removing anything."""
    by_number = dict(cards)
    known = _known(db, client_id, by_number)
    changed = sum(_merge(contact, by_number[number]) for number, contact in known.items())
    new = [_row(client_id, card) for number, card in by_number.items() if number not in known]
    db.flush()
    if new:
        db.execute(insert(Contact), new)
        usages.note(db, client_id, contacts=len(new), bytes=sum(map(usages.size_of, new)))
    return Written(len(new), changed, len(known) - changed)


def amounts(db: Db, client_id: str, found: Import) -> dict[str, int]:
    """Return how many contacts an import creates, and their bytes, by the names of limits."""
    counted: Counter[str] = Counter()
    for cards in batches(found):
        known = _numbers(db, client_id, [number for number, _ in cards])
        new = [_row(client_id, card) for number, card in cards if number not in known]
        counted.update(contacts=len(new), bytes=sum(map(usages.size_of, new)))
    return dict(counted)


def _take(found: Import, entry: Entry, normalise: Normalise, tags: Sequence[str]) -> None:
    try:
        card = _card(entry, normalise, tags)
    except UnusableVariablesError as error:
        _refuse(found, entry.row, f"It {error}")
        return
    first = card.phones[0]
    if first in found.cards:
        found.duplicates += 1
        _add(found.cards[first], card)
    else:
        found.cards[first] = card


def _refuse(found: Import, row: int, reason: str) -> None:
    found.refused_count += 1
    if len(found.refused) < MOST_REFUSED:
        found.refused.append(Refused(row, f"{reason}."))


def _errors(table: Table, found: Import) -> dict[str, Any]:
    if not found.refused:
        return {"contacts": ["No row has anything in it below the heading."]}
    rows = {f"contacts.{row}": [f"{table.place(row)}: {why}"] for row, why in found.refused}
    return {"contacts": ["No row has a number that is right."]} | rows


def _card(entry: Entry, normalise: Normalise, tags: Sequence[str]) -> Card:
    said = headings.part(entry.values)
    numbers = [found for each in (*entry.numbers, *said.numbers) if (found := normalise(each))]
    # The number for messages comes first, because a contact is found by its first number.
    first = contacts.reached_by(numbers)
    return Card(
        phones=list(dict.fromkeys((first, *numbers)))[:_MOST_LISTED],
        name=said.name[: variables.LONGEST_NAME],
        emails=said.emails[:_MOST_LISTED],
        organisation=said.organisation[: variables.LONGEST_NAME],
        tags=list(dict.fromkeys((*tags, *said.tags)))[:_MOST_LISTED],
        fields=variables.settle(said.others),
    )


def _numbers(db: Db, client_id: str, numbers: Iterable[str]) -> set[str | None]:
    mine = select(Contact.number).where(Contact.client_id == client_id)
    return set(db.scalars(mine.where(Contact.number.in_([*numbers]))))


def _known(db: Db, client_id: str, numbers: Iterable[str]) -> dict[str, Contact]:
    """Return the contacts of these numbers, the oldest of several."""
    mine = select(Contact).where(Contact.client_id == client_id, Contact.number.in_([*numbers]))
    newest_first = db.scalars(mine.order_by(Contact.id.desc()))
    return {contact.number: contact for contact in newest_first if contact.number}


def _merge(contact: Contact, card: Card) -> bool:
    """Add the data of a card to a contact; return whether anything changed."""
    before = _card_of(contact)
    after = _card_of(contact)
    _add(after, card)
    for name in ("phones", "name", "emails", "organisation", "tags", "fields"):
        if getattr(after, name) != getattr(before, name):
            setattr(contact, name, getattr(after, name))
    return after != before


def _card_of(contact: Contact) -> Card:
    return Card(
        list(contact.phones),
        contact.name,
        list(contact.emails),
        contact.organisation,
        list(contact.tags or ()),
        dict(contact.fields or {}),
    )


def _add(card: Card, more: Card) -> None:
    card.name = more.name or card.name
    card.organisation = more.organisation or card.organisation
    card.phones = list(dict.fromkeys((*card.phones, *more.phones)))[:_MOST_LISTED]
    card.emails = list(dict.fromkeys((*card.emails, *more.emails)))[:_MOST_LISTED]
    card.tags = list(dict.fromkeys((*card.tags, *more.tags)))[:_MOST_LISTED]
    card.fields = card.fields | more.fields


def _row(client_id: str, card: Card) -> dict[str, Any]:
    now = now_ms()
    return {
        "id": ids.new(),
        "client_id": client_id,
        "name": card.name or card.phones[0],
        "phones": card.phones,
        "number": card.phones[0],
        "emails": card.emails,
        "organisation": card.organisation,
        "channel": None,
        "tags": card.tags,
        "fields": card.fields,
        "created_at": now,
        "updated_at": now,
        "version": 0,
    }
