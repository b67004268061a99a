"""Schemas of clients."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.core.limits import Limit
from service.schemas.fields import created, object_id


class LimitSchema(Schema):
    """A limit and how much of it is used."""

    limit = fields.Integer(required=True)
    used = fields.Integer(required=True, metadata={"description": "Of `recipients`: today, in UTC"})


class ClientSchema(Schema):
    """A client with its limits, by their names."""

    id = object_id()
    name = fields.String(required=True)
    limits = fields.Dict(
        keys=fields.String(metadata={"enum": [str(limit) for limit in Limit]}),
        values=fields.Nested(LimitSchema),
        required=True,
        metadata={"example": {"sessions": {"limit": 100, "used": 3}}},
    )
    created_at = created()
