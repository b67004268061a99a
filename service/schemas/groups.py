"""Schemas of groups."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from service.core.groups import MOST_CONTACTS
from service.schemas.base import (
    ID_PATTERN,
    CredentialsSchema,
    Derived,
    Flag,
    LenientSchema,
    Name,
    WholeSchema,
    created,
    id_field,
    is_id,
    object_id,
    seen_version,
    updated,
    version,
)


def _contacts() -> fields.List[str]:
    return fields.List(
        fields.String(validate=is_id, metadata={"pattern": ID_PATTERN}),
        validate=validate.Length(max=MOST_CONTACTS),
        metadata={"description": "Ids of contacts"},
    )


class _GroupFields(CredentialsSchema):
    """The optional fields."""

    name = Name(metadata={"description": "Required, here or as `title`"})
    title = Name(metadata={"description": "The guide's word for `name`"})
    is_default = Flag(metadata={"description": "A flag for your own use; Crier only stores it"})
    contacts = _contacts()


class NewGroupSchema(_GroupFields, LenientSchema):
    """A new group."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"name": "friends", "contacts": []}


class GroupSchema(Schema):
    """A named list of contacts, with its size."""

    id = object_id()
    name = fields.String(required=True)
    size = fields.Integer(required=True, metadata={"description": "How many contacts it has"})
    client_id = id_field()
    created_at = created()
    updated_at = updated()
    version = version()
    title = Derived(
        lambda group: group.name,
        required=True,
        metadata={"description": "The guide's word for `name`"},
    )
    is_default = fields.Boolean(required=True)


class FullGroupSchema(GroupSchema):
    """A named list of contacts, with their ids."""

    contacts = fields.List(fields.String(), required=True)


class GroupChangeSchema(_GroupFields, WholeSchema):
    """The fields to change. Omitted fields stay."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"name": "friends"}
    SHOWN = FullGroupSchema

    version = seen_version()
