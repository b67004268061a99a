"""What may be said about a contact, and what is answered."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from service.schemas.base import (
    CredentialsSchema,
    Line,
    Name,
    created,
    id_field,
    object_id,
    seen_version,
    updated,
    version,
)

_MOST = 50


class _ContactFields(CredentialsSchema):
    """What can be set and left out alike."""

    emails = fields.List(
        fields.Email(validate=validate.Length(max=254)), validate=validate.Length(max=_MOST)
    )
    organisation = Line()


class NewContactSchema(_ContactFields):
    """A card to be stored."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "name": "Ada Obi",
        "phones": ["2348179803743"],
        "emails": ["ada@example.com"],
        "organisation": "Acme",
    }

    name = Name(required=True)
    phones = fields.List(
        fields.String(),
        required=True,
        validate=validate.Length(min=1, max=_MOST),
        metadata={
            "description": "In international form; messages go to the first",
            "example": ["2348179803743"],
        },
    )


class ContactChangeSchema(_ContactFields):
    """What is to be changed; what is left out stays."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"organisation": "Acme"}

    name = Name()
    phones = fields.List(fields.String(), validate=validate.Length(min=1, max=_MOST))
    version = seen_version()


class ContactSchema(Schema):
    """Somebody's card; `vcard` is the same as a vCard 3.0."""

    id = object_id()
    name = fields.String(required=True)
    phones = fields.List(fields.String(), required=True)
    emails = fields.List(fields.String(), required=True)
    organisation = fields.String(required=True)
    vcard = fields.String(required=True)
    client_id = id_field()
    created_at = created()
    updated_at = updated()
    version = version()
