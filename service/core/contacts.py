"""Contacts: people with phones and e-mail addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, or_, select
from sqlalchemy.orm import Session as Db

from service import ids
from service.core import numbers, owned, paging, variables
from service.core.variables import UnusableVariablesError
from service.errors import InvalidError
from service.models import Contact, GroupMember


def create(db: Db, client_id: str, fields: Mapping[str, Any]) -> Contact:
    """Create a contact from `name`, `phones` and its other columns.

    Phones are stored as unique E.164 digits, in the given order. Raises InvalidError.
    """
    contact = Contact(
        client_id=client_id,
        name=fields["name"],
        phones=_normalised(fields["phones"]),
        emails=fields.get("emails") or [],
        organisation=fields.get("organisation") or "",
        channel=fields.get("channel"),
        fields=settled(fields.get("fields") or {}),
        tags=list(dict.fromkeys(fields.get("tags") or ())),
    )
    db.add(contact)
    db.flush()
    return contact


def get(db: Db, client_id: str, contact_id: str) -> Contact:
    """Return a client's contact; raises NotFoundError."""
    return owned.get(db, Contact, client_id, contact_id)


def page(db: Db, client_id: str, request: paging.PageRequest) -> paging.Page[Contact]:
    """Return one page of a client's contacts."""
    return paging.fetch(db, owned.mine(Contact, client_id), Contact.id, request)


def search(db: Db, client_id: str, words: str, request: paging.PageRequest) -> paging.Page[Contact]:
    """Return one page of the contacts whose name or phones contain these words; empty: of all."""
    wanted = owned.mine(Contact, client_id)
    if words:
        digits = re.sub(r"\D", "", words)
        matches = [Contact.name.icontains(words, autoescape=True)]
        if digits:
            matches.append(cast(Contact.phones, Text).contains(digits))
        wanted = wanted.where(or_(*matches))
    return paging.fetch(db, wanted, Contact.id, request)


def listed(
    db: Db, inside: ColumnElement[bool], request: paging.PageRequest
) -> paging.Page[Contact]:
    """Return one page of the contacts of these memberships, in order."""
    of_contact = GroupMember.contact_id == Contact.id
    members = select(Contact).join(GroupMember, of_contact).where(inside)
    return paging.fetch(db, members, GroupMember.position, request)


def count(db: Db, client_id: str) -> int:
    """Return how many contacts a client has."""
    return paging.count(db, owned.mine(Contact, client_id))


def update(
    db: Db,
    client_id: str,
    contact_id: str,
    fields: Mapping[str, Any],
) -> Contact:
    """Change the given fields of a contact; a given `version` must still be current.

    Raises NotFoundError, InvalidError, StaleVersionError.
    """
    contact = get(db, client_id, contact_id)
    owned.check_version(contact, fields)
    changed = {name: value for name, value in fields.items() if name != "version"}
    if "phones" in changed:
        changed["phones"] = _normalised(changed["phones"])
    if "fields" in changed:
        changed["fields"] = settled(changed["fields"])
    if "tags" in changed:
        changed["tags"] = list(dict.fromkeys(changed["tags"]))
    for name, value in changed.items():
        setattr(contact, name, value)
    db.flush()
    return contact


def delete(db: Db, client_id: str, contact_id: str) -> Contact:
    """Delete a contact; accepted broadcasts keep a copy of the card. Raises NotFoundError."""
    contact = get(db, client_id, contact_id)
    db.delete(contact)
    db.flush()
    return contact


def held(db: Db, client_id: str, wanted: Sequence[str]) -> Sequence[str]:
    """Return the existing ones of some contacts, locked against deletion until commit."""
    locking = _ids(client_id, wanted).with_for_update(read=True, key_share=True)
    return db.scalars(locking).all()


def found(db: Db, client_id: str, wanted: Sequence[str]) -> Sequence[str]:
    """Return the existing ones of some contacts."""
    return db.scalars(_ids(client_id, wanted)).all()


def reached_by(phones: Sequence[str]) -> str:
    """Return the phone for messages: the first mobile one, otherwise the first."""
    if len(phones) == 1:
        return phones[0]
    return next((phone for phone in phones if not numbers.is_landline(phone)), phones[0])


def settled(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return fields as texts, without the empty ones; raises InvalidError."""
    try:
        return variables.settle(fields)
    except UnusableVariablesError as error:
        raise InvalidError(errors={"fields": [f"A contact {error}."]}) from error


def _ids(client_id: str, wanted: Sequence[str]) -> Select[str]:
    possible = [contact_id for contact_id in wanted if ids.is_id(contact_id)]
    mine = select(Contact.id).where(Contact.client_id == client_id, Contact.id.in_(possible))
    return mine.order_by(Contact.id)


def _normalised(phones: Sequence[str]) -> list[str]:
    """Return unique phones in E.164 digits; raises InvalidError for every bad one."""
    found = {phone: numbers.normalise(phone) for phone in phones}
    errors = {
        f"phones.{position}": [f"{phone[:40]!r} {numbers.reason(phone)}."]
        for position, phone in enumerate(phones)
        if found[phone] is None
    }
    if errors:
        raise InvalidError(errors=errors)
    return list(dict.fromkeys(number for number in found.values() if number))
