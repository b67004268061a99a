"""Schemas of counts: how many deliveries have each status."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.schemas.base import Moment


class CountsSchema(Schema):
    """How many deliveries have each status. `pending` counts all that are not final."""

    total = fields.Integer(required=True)
    pending = fields.Integer(required=True)
    sent = fields.Integer(required=True)
    delivered = fields.Integer(required=True)
    read = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)
    uncertain = fields.Integer(required=True)


class PointSchema(Schema):
    """How many deliveries were in which state at a moment."""

    at = Moment(required=True)
    sent = fields.Integer(required=True)
    delivered = fields.Integer(required=True)
    read = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)
    uncertain = fields.Integer(required=True)
