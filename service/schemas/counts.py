"""Schemas of counts: how many deliveries have each status."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.schemas.fields import Moment


class _StatusesSchema(Schema):
    """How many deliveries have each status that may be final."""

    sent = fields.Integer(required=True)
    delivered = fields.Integer(required=True)
    read = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)
    uncertain = fields.Integer(required=True)


class _TotalsSchema(Schema):
    """How many deliveries there are, and how many of them are not final."""

    total = fields.Integer(required=True)
    pending = fields.Integer(required=True)


# Fields of a later base come first.
class CountsSchema(_StatusesSchema, _TotalsSchema):
    """How many deliveries have each status. `pending` counts all that are not final."""


class _MomentSchema(Schema):
    at = Moment(required=True)


class PointSchema(_StatusesSchema, _MomentSchema):
    """How many deliveries were in each state at one moment."""
