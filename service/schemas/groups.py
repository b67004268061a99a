"""Schemas of groups."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.core.groups import MOST_CONTACTS
from service.schemas.base import CredentialsSchema, LenientSchema, WholeSchema
from service.schemas.contacts import ContactSchema
from service.schemas.fields import (
    ID_PATTERN,
    Derived,
    Flag,
    Name,
    created,
    id_field,
    is_id,
    object_id,
    seen_version,
    updated,
    version,
)

MOST_OF_A_KIND = 20
"""The most tags, and the most fields, of one rule."""


def _contacts() -> fields.List[str]:
    return fields.List(
        fields.String(validate=is_id, metadata={"pattern": ID_PATTERN}),
        validate=validate.Length(max=MOST_CONTACTS),
        metadata={"description": "Ids of contacts"},
    )


class RuleSchema(LenientSchema):
    """The contacts of a group: those with all these tags and exactly these values of fields."""

    tags = fields.List(Name(), validate=validate.Length(max=MOST_OF_A_KIND))
    fields_ = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        data_key="fields",
        attribute="fields",
        validate=validate.Length(max=MOST_OF_A_KIND),
        metadata={"example": {"city": "Lagos"}},
    )

    @validates_schema
    def ask_for_something(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a rule that every contact would match."""
        if not any(data.values()):
            raise ValidationError("Needs at least one of tags, fields.")


class _GroupFields(CredentialsSchema):
    """The optional fields."""

    name = Name(metadata={"description": "Required, here or as `title`"})
    title = Name(metadata={"description": "The guide's word for `name`"})
    is_default = Flag(metadata={"description": "A flag for your own use; Crier only stores it"})
    contacts = _contacts()
    rule = fields.Nested(
        RuleSchema,
        allow_none=True,
        metadata={"description": "In place of `contacts`: whoever matches it is in the group"},
    )


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
    rule = fields.Nested(RuleSchema, required=True, allow_none=True)


class FullGroupSchema(GroupSchema):
    """A named list of contacts with their ids; for a group with a rule, the first 1,000."""

    contacts = fields.List(fields.String(), required=True)


class GroupPreviewRequestSchema(CredentialsSchema):
    """A rule to preview."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"rule": {"tags": ["customer"]}}

    rule = fields.Nested(RuleSchema, required=True)


class GroupPreviewSchema(Schema):
    """The contacts that a rule matches now."""

    size = fields.Integer(required=True)
    contacts = fields.List(
        fields.Nested(ContactSchema), required=True, metadata={"description": "The first five"}
    )


class GroupChangeSchema(_GroupFields, WholeSchema):
    """The fields to change. Omitted fields stay."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"name": "friends"}
    SHOWN = FullGroupSchema

    version = seen_version()
