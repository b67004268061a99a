"""Contacts: the people that the client knows by name."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template
from sqlalchemy.orm import Session as Db

from service.blueprints.context import crier
from service.blueprints.requests import request
from service.console import forms, listing, notices
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.core import contacts, groups, members
from service.core.paging import LARGEST_SIZE, PageRequest
from service.core.tokens import Scope
from service.errors import InvalidError
from service.models import Contact
from service.schemas.contacts import ContactChangeSchema, NewContactSchema

blueprint = Section("contacts", __name__)

_INVALID = 422


@blueprint.page("/contacts")
def index() -> str:
    """Show the contacts, those of a name or a number if that is searched for, and the groups."""
    words = listing.words()
    with crier().database.reading() as db:
        page = contacts.search(db, visitor().client_id, words, listing.wanted())
        mine = groups.page(db, visitor().client_id, PageRequest(1, LARGEST_SIZE)).items
        sizes = members.sizes(db, mine)
    return render_template(
        listing.template("contacts"), page=page, words=words, groups=mine, sizes=sizes
    )


@blueprint.page("/contacts/new", Scope.SEND)
def new() -> str:
    """Ask for a name and a number."""
    with crier().database.reading() as db:
        return _form(db, None, {})


@blueprint.action("/contacts/new", "contact.create")
def create() -> Response | tuple[str, int]:
    """Store a contact."""
    try:
        fields = forms.check(NewContactSchema, _given())
        with crier().database.writing() as db:
            contact = contacts.create(db, visitor().client_id, fields)
            if fields.get("group_id"):
                members.move(db, contact, fields["group_id"])
    except InvalidError as error:
        with crier().database.reading() as db:
            return _form(db, None, error.errors), _INVALID
    notices.give(_("Contact %(name)s created.", name=contact.name))
    return _to_list()


@blueprint.page("/contacts/<id:contact_id>")
def show(contact_id: str) -> str:
    """Show a contact, with a form for viewers who may change it."""
    with crier().database.reading() as db:
        return _form(db, contacts.get(db, visitor().client_id, contact_id), {})


@blueprint.action("/contacts/<id:contact_id>", "contact.update")
def update(contact_id: str) -> Response | tuple[str, int]:
    """Change a contact."""
    try:
        fields = forms.check(ContactChangeSchema, _given())
        group_id = fields.pop("group_id", None)
        with crier().database.writing() as db:
            contact = contacts.update(db, visitor().client_id, contact_id, fields)
            if group_id:
                members.move(db, contact, group_id)
    except InvalidError as error:
        with crier().database.reading() as db:
            contact = contacts.get(db, visitor().client_id, contact_id)
            return _form(db, contact, error.errors), _INVALID
    notices.give(_("Contact %(name)s saved.", name=contact.name))
    return _to_list()


@blueprint.action("/contacts/<id:contact_id>/delete", "contact.delete")
def delete(contact_id: str) -> Response:
    """Delete a contact; messages that were sent do not change."""
    with crier().database.writing() as db:
        contact = contacts.delete(db, visitor().client_id, contact_id)
    notices.give(_("Contact %(name)s deleted.", name=contact.name))
    return _to_list()


def _given() -> dict[str, Any]:
    """Return the fields of the form as the API's body has them."""
    return {
        "name": forms.text("name"),
        "phones": forms.lines("phones"),
        "emails": forms.lines("emails"),
        "organisation": forms.text("organisation"),
        "group_id": forms.text("group_id"),
        "tags": forms.lines("tags"),
        "fields": forms.pairs("field", "value"),
    }


def _form(db: Db, contact: Contact | None, faults: dict[str, Any]) -> str:
    mine = groups.page(db, visitor().client_id, PageRequest(1, LARGEST_SIZE)).items
    group_id = members.of_contacts(db, [contact.id]).get(contact.id, "") if contact else ""
    return render_template(
        "console/contact.html",
        contact=contact,
        groups=mine,
        group_id=group_id,
        given=request.form,
        fields=_given()["fields"] if request.form else (contact.fields or {} if contact else {}),
        faults=faults,
    )


def _to_list() -> Response:
    return to_page("contacts.index")
