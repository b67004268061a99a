"""Schemas of contacts."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from flask_smorest.fields import Upload
from marshmallow import Schema, fields, validate

from service.schemas.base import CredentialsSchema, LenientSchema, StrictSchema, WholeSchema
from service.schemas.fields import (
    Line,
    Name,
    Phone,
    created,
    id_field,
    is_id,
    object_id,
    seen_version,
    updated,
    version,
)
from service.schemas.numbering import NumberingSchema, columns

MOST = 50


class _ContactFields(CredentialsSchema):
    """The optional fields."""

    emails = fields.List(
        fields.Email(validate=validate.Length(max=254)), validate=validate.Length(max=MOST)
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
    fields_ = fields.Dict(
        keys=fields.String(),
        data_key="fields",
        attribute="fields",
        metadata={
            "description": "Texts under names of your own, for placeholders and rules of groups",
            "additionalProperties": {"type": ["string", "number", "null"]},
            "example": {"city": "Lagos"},
        },
    )
    tags = fields.List(
        Name(),
        validate=validate.Length(max=MOST),
        metadata={"description": "Words of your own, for rules of groups", "example": ["customer"]},
    )


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
        validate=validate.Length(min=1, max=MOST),
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
    fields_ = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        data_key="fields",
        attribute="fields",
    )
    tags = fields.List(fields.String(), required=True)


class ContactChangeSchema(_ContactFields, WholeSchema):
    """The fields to change. Omitted fields stay."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"organisation": "Acme"}
    SHOWN = ContactSchema

    name = Name()
    phones = fields.List(Phone(), validate=validate.Length(min=1, max=MOST))
    version = seen_version()


class ImportSchema(NumberingSchema, CredentialsSchema, LenientSchema):
    """How a file of contacts is read."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"columns": {"to": "Phone"}, "tags": ["customer"]}

    columns = columns()
    tags = fields.List(
        Name(),
        validate=validate.Length(max=MOST),
        metadata={"description": "Tags that all of them get besides their own"},
    )


class ImportFormSchema(Schema):
    """The form that imports contacts. It only documents the form; nothing loads it."""

    import_ = fields.Nested(
        ImportSchema,
        data_key="import",
        metadata={"description": "JSON; or its fields by themselves"},
    )
    contacts = Upload(required=True)


class RefusedRowSchema(Schema):
    """A row that could not be imported as a contact."""

    row = fields.Integer(required=True)
    place = fields.String(required=True, metadata={"example": "Row 7, column B (Phone)"})
    reason = fields.String(required=True)


class ImportedSchema(Schema):
    """The result of an import, with the first 1,000 refused rows."""

    new = fields.Integer(required=True)
    changed = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    duplicates = fields.Integer(
        required=True, metadata={"description": "Rows with a number of a row above, put together"}
    )
    refused_count = fields.Integer(required=True)
    refused = fields.List(fields.Nested(RefusedRowSchema), required=True)


class Format(StrEnum):
    """A file format."""

    CSV = "csv"
    NDJSON = "ndjson"
    XLSX = "xlsx"


MIMETYPES = {
    Format.CSV: "text/csv",
    Format.NDJSON: "application/x-ndjson",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class ExportSchema(StrictSchema):
    """The requested file format."""

    format = fields.String(load_default=Format.CSV, validate=validate.OneOf(list(Format)))
