"""Routes of contacts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from service.blueprints import aliases, contact_files, lists
from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier
from service.blueprints.requests import ListForm
from service.core import contacts, members, numbers, vcard
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.errors import InvalidError, LimitError, StaleVersionError
from service.models import Contact
from service.schemas import wordings
from service.schemas.base import Shown
from service.schemas.contacts import (
    MIMETYPES,
    ContactChangeSchema,
    ContactSchema,
    ExportSchema,
    Format,
    ImportedSchema,
    ImportFormSchema,
    ImportSchema,
    NewContactSchema,
)

blueprint = Blueprint(
    "contacts", __name__, description="People to send to, in groups, or to send as contact cards"
)

IMPORT = ListForm(document="import", file="contacts")


@blueprint.post("/contact", "createContact")
@blueprint.scope(Scope.SEND)
@blueprint.takes(NewContactSchema)
@blueprint.raises(LimitError)
@blueprint.answers(201, ContactSchema, "Contact created successfully!")
def create(body: dict[str, Any]) -> Shown:
    """Store a contact."""
    with crier().database.writing() as db, _number_for_phones(body):
        contact = contacts.create(db, caller().client_id, _settled(body, []))
        return _moved(db, contact, body)


@blueprint.get("/contact", "listContacts")
@blueprint.scope(Scope.READ)
@blueprint.pages()
@blueprint.answers(200, ContactSchema, "Contact fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Shown]:
    """Fetch all contacts, oldest first."""
    with crier().database.reading() as db:
        found = contacts.page(db, caller().client_id, page)
        inside = members.of_contacts(db, [contact.id for contact in found.items])
    return found.map(lambda contact: shown(contact, inside.get(contact.id)))


@blueprint.post("/contact/import", "importContacts")
@blueprint.takes_list(IMPORT, ImportFormSchema)
@blueprint.scope(Scope.SEND)
@blueprint.takes(ImportSchema)
@blueprint.raises(LimitError)
@blueprint.answers(200, ImportedSchema, "Contact imported successfully!")
def import_(body: dict[str, Any]) -> dict[str, Any]:
    """Import contacts from a file. A number that a contact already has updates that contact.

    The file is CSV, TSV, XLSX, ODS, XLS, NDJSON or VCF, and has 100,000 rows at most. Headings
    identify the names, e-mail addresses, organisations and tags. All other columns become `fields`.
    Nothing is removed: an empty cell changes nothing. Rows without a valid number are reported; the
    others are stored.
    """
    numbering = lists.numbering(body)
    table = lists.table("contacts", body.get("columns") or {}, numbering)
    return contact_files.store(table, numbering, body.get("tags") or ())


@blueprint.get("/contact/export", "exportContacts")
@blueprint.scope(Scope.READ)
@blueprint.takes_query(ExportSchema)
@blueprint.streams(*MIMETYPES.values())
def export(query: dict[str, Any]) -> Response:
    """Fetch all contacts as a file, oldest first. `POST /contact/import` accepts this file.

    In CSV, an apostrophe precedes any text that a spreadsheet program would run as a formula.
    """
    return contact_files.export(Format(query["format"]))


@blueprint.get("/contact/<id:contact_id>", "getContact")
@blueprint.scope(Scope.READ)
@blueprint.answers(200, ContactSchema, "Contact fetched successfully!")
def show(contact_id: str) -> Shown:
    """Fetch one contact."""
    with crier().database.reading() as db:
        contact = contacts.get(db, caller().client_id, contact_id)
        return shown(contact, _group_of(db, contact))


@blueprint.put("/contact/<id:contact_id>", "updateContact")
@blueprint.scope(Scope.SEND)
@blueprint.takes(ContactChangeSchema)
@blueprint.raises(StaleVersionError)
@blueprint.answers(200, ContactSchema, "Contact updated successfully!")
def update(body: dict[str, Any], contact_id: str) -> Shown:
    """Change a contact. Omitted fields stay."""
    with crier().database.writing() as db, _number_for_phones(body):
        contact = contacts.get(db, caller().client_id, contact_id)
        fields = _settled(body, contact.phones)
        return _moved(db, contacts.update(db, caller().client_id, contact_id, fields), body)


@blueprint.delete("/contact/<id:contact_id>", "deleteContact")
@blueprint.scope(Scope.SEND)
@blueprint.raises(StaleVersionError)
@blueprint.answers(200, ContactSchema, "Contact deleted successfully!")
def delete(contact_id: str) -> Shown:
    """Delete a contact. Accepted broadcasts keep a copy of its card."""
    with crier().database.writing() as db:
        group_id = _group_of(db, contacts.get(db, caller().client_id, contact_id))
        return shown(contacts.delete(db, caller().client_id, contact_id), group_id)


def _settled(body: dict[str, Any], phones: list[str]) -> dict[str, Any]:
    """Return the fields for `core`: the guide's `number` becomes the first of `phones`."""
    fields = {name: value for name, value in body.items() if name not in {"number", "group_id"}}
    if "phones" in fields:
        fields["phones"] = list(map(_readable, fields["phones"]))
    if number := body.get("number"):
        others = (phones or fields.get("phones", []))[1:]
        fields["number"] = [_readable(number), *others]
    settled = aliases.settle(fields, {"number": "phones"}, {"phones": phones} if phones else {})
    if not phones and "phones" not in settled:
        raise InvalidError(errors={"phones": [wordings.REQUIRED]})
    return settled


def _readable(phone: str) -> str:
    """Return a number as stored, or as given if it is not valid."""
    return numbers.normalise(phone) or phone


@contextmanager
def _number_for_phones(body: dict[str, Any]) -> Iterator[None]:
    """Name `number` in errors if the client sent that field."""
    try:
        yield
    except InvalidError as error:
        if "phones" in body or "phones.0" not in error.errors:
            raise
        raise InvalidError(errors={"number": error.errors["phones.0"]}) from error


def _moved(db: Session, contact: Contact, body: dict[str, Any]) -> Shown:
    """Move a contact into the group that the body names, if any."""
    if group_id := body.get("group_id"):
        members.move(db, contact, group_id)
    return shown(contact, _group_of(db, contact))


def _group_of(db: Session, contact: Contact) -> str | None:
    return members.of_contacts(db, [contact.id]).get(contact.id)


def shown(contact: Contact, group_id: str | None) -> Shown:
    """Return a contact as answers show it."""
    return Shown(
        contact,
        vcard=vcard.render(contact),
        number=contact.phones[0],
        landlines=list(filter(numbers.is_landline, contact.phones)),
        group_id=group_id,
        fields=contact.fields or {},
        tags=contact.tags or [],
    )
