"""What a provider is answered."""

from __future__ import annotations

from marshmallow import fields

from service.schemas.base import StrictSchema


class ReceivedSchema(StrictSchema):
    """What came of a webhook."""

    receipts = fields.Integer(metadata={"description": "How many receipts were in it"})
