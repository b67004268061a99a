"""Schemas of attachments."""

from __future__ import annotations

from flask_smorest.fields import Upload
from marshmallow import Schema, fields

from service.core import formats
from service.schemas.base import CredentialsSchema
from service.schemas.fields import Derived, Omitted, created, object_id, updated, version


class UploadSchema(CredentialsSchema):
    """The form that uploads a file. It only documents the form; nothing loads it."""

    file = Upload(required=True)


class DataUrlSchema(CredentialsSchema):
    """The JSON that uploads a file. It only documents the request; nothing loads it."""

    file = fields.String(
        required=True,
        metadata={
            "description": "A data URL (RFC 2397)",
            "pattern": r"^data:[^,]*,[\s\S]*$",
            "example": "data:text/plain;base64,SGVsbG8=",
        },
    )
    filename = fields.String(
        metadata={"description": "The file's name. Its extension tells text formats apart"}
    )


class AttachmentSchema(Schema):
    """A stored file. `client_id` is absent if all clients share it."""

    id = object_id()
    type = fields.String(required=True, metadata={"enum": list(formats.FORMATS)})
    mimetype = fields.String(required=True)
    name = fields.String(required=True)
    path = Derived(lambda file: f"./public/attachments/{file.name}.{file.type}", required=True)
    client_id = Omitted()
    created_at = created()
    updated_at = updated()
    version = version()
    filename = fields.String(
        required=True, metadata={"description": "The name it was uploaded with"}
    )
    size = fields.Integer(required=True, metadata={"description": "In bytes"})
    url = fields.String(required=True, metadata={"description": "Where anybody can download it"})
