"""Schemas of contacts."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from service.schemas.base import (
    CredentialsSchema,
    LenientSchema,
    Line,
    Name,
    Phone,
    WholeSchema,
    created,
    id_field,
    is_id,
    object_id,
    seen_version,
    updated,
    version,
)

_MOST = 50


class _ContactFields(CredentialsSchema):
    """The optional fields."""

    emails = fields.List(
        fields.Email(validate=validate.Length(max=254)), validate=validate.Length(max=_MOST)
    )
    organisation = Line()
    number = Phone(
        allow_none=True, metadata={"description": "The first of `phones`, as the guide has it"}
    )
    group_id = fields.String(
        allow_none=True,
        validate=lambda given: not given or is_id(given),
        metadata={"description": "Id of a group to move the contact to"},
    )
    channel = Line(allow_none=True)


class NewContactSchema(_ContactFields, LenientSchema):
    """A new contact."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "name": "Ada Obi",
        "phones": ["12025550110"],
        "emails": ["ada@example.com"],
        "organisation": "Acme",
    }

    name = Name(required=True)
    phones = fields.List(
        Phone(),
        validate=validate.Length(min=1, max=_MOST),
        metadata={
            "description": "In international form, in any notation; required, here or as `number`."
            " Messages go to the first mobile phone",
            "example": ["12025550110"],
        },
    )


class ContactSchema(Schema):
    """A contact. `vcard` is the same contact as a vCard 3.0."""

    id = object_id()
    name = fields.String(required=True)
    phones = fields.List(fields.String(), required=True)
    landlines = fields.List(
        fields.String(),
        required=True,
        metadata={
            "description": "The `phones` that are landlines. SMS does not reach them, and WhatsApp"
            " only if a business uses them. Messages go to the first other phone"
        },
    )
    emails = fields.List(fields.String(), required=True)
    organisation = fields.String(required=True)
    vcard = fields.String(required=True)
    client_id = id_field()
    created_at = created()
    updated_at = updated()
    version = version()
    number = fields.String(
        required=True, metadata={"description": "The first of `phones`, as the guide has it"}
    )
    group_id = id_field(allow_none=True)
    channel = fields.String(required=True, allow_none=True)


class ContactChangeSchema(_ContactFields, WholeSchema):
    """The fields to change. Omitted fields stay."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"organisation": "Acme"}
    SHOWN = ContactSchema

    name = Name()
    phones = fields.List(Phone(), validate=validate.Length(min=1, max=_MOST))
    version = seen_version()
