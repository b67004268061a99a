"""Schemas of the sandbox."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.schemas.base import Moment, id_field


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
