"""What the sandbox shows of the messages it received."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.schemas.base import Moment, id_field


class SandboxMessageSchema(Schema):
    """A message as the sandbox, in the place of a provider, got it."""

    message_id = fields.String(required=True)
    session_id = id_field()
    recipient = fields.String(required=True)
    kind = fields.String(
        required=True, metadata={"enum": ["text", "media", "location", "contactcard"]}
    )
    body = fields.Dict(required=True)
    reference = fields.String(
        required=True, metadata={"description": "Ours: the delivery and the part"}
    )
    received_at = Moment(required=True, data_key="receivedAt")
