"""Schemas of the sandbox."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from service.core.replies import LONGEST_TEXT
from service.schemas.base import CredentialsSchema
from service.schemas.fields import Line, Moment, Phone, id_field


class SandboxMessageSchema(Schema):
    """A message that the sandbox received."""

    message_id = fields.String(required=True)
    session_id = id_field()
    recipient = fields.String(required=True)
    kind = fields.String(
        required=True, metadata={"enum": ["text", "media", "location", "contactcard"]}
    )
    body = fields.Dict(required=True)
    reference = fields.String(
        required=True, metadata={"description": "Crier's reference: the delivery and the part"}
    )
    received_at = Moment(required=True, data_key="receivedAt")


class SandboxReplySchema(CredentialsSchema):
    """A message from a person to a session."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"recipient": "12025550110", "text": "STOP"}

    recipient = Phone(
        required=True,
        validate=validate.Length(min=1, max=100),
        metadata={"description": "Who writes: a number in international form"},
    )
    text = fields.String(required=True, validate=validate.Length(min=1, max=LONGEST_TEXT))
    button = Line(metadata={"description": "A button's own data, where `text` is its label"})
    name = Line(metadata={"description": "What the writer is called"})


class SandboxRepliedSchema(Schema):
    """A message from a person that the sandbox accepted."""

    message_id = fields.String(required=True)
    session_id = id_field()
    recipient = fields.String(required=True, attribute="sender")
    kind = fields.String(required=True, metadata={"enum": ["text", "button"]})
    text = fields.String(required=True)
    payload = fields.String(required=True)
    name = fields.String(required=True)
