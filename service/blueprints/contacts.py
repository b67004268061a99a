"""Routes about contacts."""

from __future__ import annotations

from typing import Any

from service.blueprints.api import Blueprint
from service.blueprints.context import caller, crier
from service.core import contacts, vcard
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.errors import StaleVersionError
from service.models import Contact
from service.schemas.base import Shown
from service.schemas.contacts import ContactChangeSchema, ContactSchema, NewContactSchema

blueprint = Blueprint("contacts", __name__, description="Cards that can be sent, and be in groups")


@blueprint.post("/contact")
@blueprint.scope(Scope.SEND)
@blueprint.takes(NewContactSchema)
@blueprint.answers(201, ContactSchema, "Contact created successfully!")
def create(body: dict[str, Any]) -> Shown:
    """Store a contact."""
    with crier().database.writing() as db:
        return _shown(contacts.create(db, caller().client_id, body))


@blueprint.get("/contact")
@blueprint.scope(Scope.READ)
@blueprint.pages()
@blueprint.answers(200, ContactSchema, "Contact fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Shown]:
    """Fetch all contacts, the oldest first."""
    with crier().database.reading() as db:
        return contacts.page(db, caller().client_id, page).map(_shown)


@blueprint.get("/contact/<id:contact_id>")
@blueprint.scope(Scope.READ)
@blueprint.answers(200, ContactSchema, "Contact fetched successfully!")
def show(contact_id: str) -> Shown:
    """Fetch one contact."""
    with crier().database.reading() as db:
        return _shown(contacts.get(db, caller().client_id, contact_id))


@blueprint.put("/contact/<id:contact_id>")
@blueprint.scope(Scope.SEND)
@blueprint.takes(ContactChangeSchema)
@blueprint.raises(StaleVersionError)
@blueprint.answers(200, ContactSchema, "Contact updated successfully!")
def update(body: dict[str, Any], contact_id: str) -> Shown:
    """Change a contact; fields that are left out stay as they are."""
    with crier().database.writing() as db:
        return _shown(contacts.update(db, caller().client_id, contact_id, body))


@blueprint.delete("/contact/<id:contact_id>")
@blueprint.scope(Scope.SEND)
@blueprint.raises(StaleVersionError)
@blueprint.answers(200, ContactSchema, "Contact deleted successfully!")
def delete(contact_id: str) -> Shown:
    """Delete a contact; broadcasts that were accepted keep its card as it was."""
    with crier().database.writing() as db:
        return _shown(contacts.delete(db, caller().client_id, contact_id))


def _shown(contact: Contact) -> Shown:
    return Shown(contact, vcard=vcard.render(contact))
