"""Schemas of webhooks."""

from __future__ import annotations

from marshmallow import fields

from service.schemas.base import StrictSchema


class ReceivedSchema(StrictSchema):
    """The answer to a webhook."""

    receipts = fields.Integer(metadata={"description": "How many receipts it contained"})
