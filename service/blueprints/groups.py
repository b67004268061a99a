"""Routes of groups."""

from __future__ import annotations

from typing import Any

from service.blueprints import aliases, contacts, rosters
from service.blueprints.api import GUIDE, Blueprint
from service.blueprints.context import caller, crier
from service.core import groups, members, rules
from service.core.paging import Page, PageRequest
from service.core.tokens import Scope
from service.errors import ConflictError, InvalidError
from service.models import Group
from service.schemas import wordings
from service.schemas.base import Shown
from service.schemas.contacts import ContactSchema
from service.schemas.groups import (
    FullGroupSchema,
    GroupChangeSchema,
    GroupPreviewRequestSchema,
    GroupPreviewSchema,
    GroupSchema,
    NewGroupSchema,
)

blueprint = Blueprint("groups", __name__, description="Named lists of contacts to send to")

_TITLE = {"title": "name"}


@blueprint.post("/group", "createGroup")
@blueprint.post("/contact_groups", "createContactGroup", tags=GUIDE)
@blueprint.scope(Scope.SEND)
@blueprint.takes(NewGroupSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(201, FullGroupSchema, "Group created successfully!")
def create(body: dict[str, Any]) -> Shown:
    """Store a group."""
    fields = aliases.settle(body, _TITLE, {})
    if "name" not in fields:
        raise InvalidError(errors={"name": [wordings.REQUIRED]})
    return _shown(rosters.create(caller().client_id, fields))


@blueprint.get("/group", "listGroups")
@blueprint.get("/contact_groups", "listContactGroups", tags=GUIDE)
@blueprint.scope(Scope.READ)
@blueprint.pages()
@blueprint.answers(200, GroupSchema, "Group fetched successfully!", many=True)
def index(page: PageRequest) -> Page[Shown]:
    """Fetch all groups, oldest first, without their contacts."""
    with crier().database.reading() as db:
        found = groups.page(db, caller().client_id, page)
        sizes = members.sizes(db, found.items)
    return found.map(lambda group: Shown(group, size=sizes[group.id]))


@blueprint.get("/group/<id:group_id>", "getGroup")
@blueprint.get("/contact_groups/<id:group_id>", "getContactGroup", tags=GUIDE)
@blueprint.scope(Scope.READ)
@blueprint.answers(200, FullGroupSchema, "Group fetched successfully!")
def show(group_id: str) -> Shown:
    """Fetch one group and the ids of its contacts."""
    return _read(group_id)


@blueprint.get("/group/<id:group_id>/contact", "listGroupContacts")
@blueprint.scope(Scope.READ)
@blueprint.pages()
@blueprint.answers(200, ContactSchema, "Contact fetched successfully!", many=True)
def index_contacts(page: PageRequest, group_id: str) -> Page[Shown]:
    """Fetch the contacts that are in a group now, oldest first."""
    with crier().database.reading() as db:
        group = groups.get(db, caller().client_id, group_id)
        found = members.page(db, group, page)
        inside = members.of_contacts(db, [contact.id for contact in found.items])
    return found.map(lambda contact: contacts.shown(contact, inside.get(contact.id)))


@blueprint.post("/group/preview", "previewGroup")
@blueprint.scope(Scope.READ)
@blueprint.takes(GroupPreviewRequestSchema)
@blueprint.answers(200, GroupPreviewSchema, "Group previewed successfully!")
def preview(body: dict[str, Any]) -> dict[str, Any]:
    """Count the contacts that a rule matches, and show the first five. The rule is not stored."""
    with crier().database.reading() as db:
        size = rules.count(db, caller().client_id, body["rule"])
        first = db.scalars(rules.matching(db, caller().client_id, body["rule"]).limit(5)).all()
        inside = members.of_contacts(db, [contact.id for contact in first])
    shown = [contacts.shown(contact, inside.get(contact.id)) for contact in first]
    return {"size": size, "contacts": shown}


@blueprint.put("/group/<id:group_id>", "updateGroup")
@blueprint.put("/contact_groups/<id:group_id>", "updateContactGroup", tags=GUIDE)
@blueprint.scope(Scope.SEND)
@blueprint.takes(GroupChangeSchema)
@blueprint.raises(ConflictError)
@blueprint.answers(200, FullGroupSchema, "Group updated successfully!")
def update(body: dict[str, Any], group_id: str) -> Shown:
    """Change a group's name, or replace its contacts or its rule. Omitted fields stay."""
    with crier().database.reading() as db:
        group = groups.get(db, caller().client_id, group_id)
    fields = aliases.settle(body, _TITLE, {"name": group.name})
    return _shown(rosters.update(group, fields))


@blueprint.delete("/group/<id:group_id>", "deleteGroup")
@blueprint.delete("/contact_groups/<id:group_id>", "deleteContactGroup", tags=GUIDE)
@blueprint.scope(Scope.SEND)
@blueprint.raises(ConflictError)
@blueprint.answers(200, FullGroupSchema, "Group deleted successfully!")
def delete(group_id: str) -> Shown:
    """Delete a group. Its contacts stay."""
    shown = _read(group_id)
    rosters.delete(caller().client_id, group_id)
    return shown


def _read(group_id: str) -> Shown:
    with crier().database.reading() as db:
        group = groups.get(db, caller().client_id, group_id)
    return _shown(group)


def _shown(group: Group) -> Shown:
    with crier().database.reading() as db:
        inside = members.read(db, group)
        size = members.sizes(db, [group])[group.id] if group.rule else len(inside)
    return Shown(group, contacts=inside, size=size)
