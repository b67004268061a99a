"""Groups: named lists of contacts."""

from __future__ import annotations

from flask import Response, render_template
from sqlalchemy.orm import Session as Db

from service.blueprints import rosters
from service.blueprints.context import crier
from service.console import forms, listing, notices
from service.console.access import Section, to_page, visitor
from service.console.language import gettext as _
from service.console.language import ngettext
from service.core import contacts, groups, members
from service.errors import InvalidError
from service.schemas import wordings
from service.schemas.contacts import NewContactSchema
from service.schemas.groups import GroupChangeSchema, NewGroupSchema

blueprint = Section("groups", __name__)


@blueprint.action("/groups/new", "group.create")
def create() -> Response:
    """Make an empty group."""
    fields = forms.check(NewGroupSchema, {"name": forms.text("name")})
    if "name" not in fields:
        raise InvalidError(errors={"name": [wordings.REQUIRED]})
    return _to(rosters.create(visitor().client_id, fields).id)


@blueprint.page("/groups/<id:group_id>")
def show(group_id: str) -> str:
    """Show who is in a group."""
    with crier().database.reading() as db:
        group = groups.get(db, visitor().client_id, group_id)
        page = members.page(db, group, listing.wanted(is_descending=False))
    return render_template(listing.template("group"), group=group, page=page)


@blueprint.action("/groups/<id:group_id>", "group.update")
def update(group_id: str) -> Response:
    """Give a group another name."""
    fields = forms.check(GroupChangeSchema, {"name": forms.text("name")})
    with crier().database.reading() as db:
        group = groups.get(db, visitor().client_id, group_id)
    rosters.update(group, fields)
    notices.give(_("Group saved."))
    return _to(group_id)


@blueprint.action("/groups/<id:group_id>/people", "group.update")
def add(group_id: str) -> Response:
    """Add people, a line each: a name, a comma and a number, or a number alone."""
    rows = [_person(line) for line in forms.lines("people")]
    if not rows:
        raise InvalidError(errors={"people": [_("Enter at least one person.")]})
    with crier().database.writing() as db:
        groups.get(db, visitor().client_id, group_id)
        for row in rows:
            _add(db, group_id, row)
    notices.give(ngettext("One person added.", "%(n)s people added.", len(rows)))
    return _to(group_id)


@blueprint.action("/groups/<id:group_id>/people/<id:contact_id>/remove", "group.update")
def remove(group_id: str, contact_id: str) -> Response:
    """Take somebody out of a group; the contact stays."""
    with crier().database.writing() as db:
        group = groups.get(db, visitor().client_id, group_id)
        if group.rule:
            reason = _("This group has a rule. Change the tags and fields of the contact.")
            raise InvalidError(errors={"group_id": [reason]})
        members.take_out(db, group, contact_id)
    return _to(group_id)


@blueprint.action("/groups/<id:group_id>/delete", "group.delete")
def delete(group_id: str) -> Response:
    """Delete a group, not the people in it."""
    with crier().database.reading() as db:
        group = groups.get(db, visitor().client_id, group_id)
    rosters.delete(visitor().client_id, group_id)
    notices.give(_("Group %(name)s deleted. Its members are still contacts.", name=group.name))
    return to_page("contacts.index")


def _person(line: str) -> tuple[str, str]:
    """Return the name and the number of a line; without a name the number stands for it."""
    name, comma, number = line.replace(";", ",").replace("\t", ",").rpartition(",")
    return (name.strip() or number.strip(), number.strip()) if comma else (line, line)


def _add(db: Db, group_id: str, person: tuple[str, str]) -> None:
    name, number = person
    try:
        fields = forms.check(NewContactSchema, {"name": name, "phones": [number]})
        contact = contacts.create(db, visitor().client_id, fields)
    except InvalidError as error:
        reasons = " ".join(reason for some in error.errors.values() for reason in some)
        raise InvalidError(errors={"people": [f"{name}: {reasons}"]}) from error
    members.move(db, contact, group_id)


def _to(group_id: str) -> Response:
    return to_page("groups.show", group_id=group_id)
