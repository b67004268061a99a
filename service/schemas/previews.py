"""Schemas of previews: the effects of a broadcast that is not stored."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from service.channels.content import ContactCard, Location, Media, Part, Template, Text
from service.models import StepCondition
from service.schemas.base import StrictSchema
from service.schemas.fields import Moment, id_field
from service.schemas.reports import EstimateSchema


class DryRunSchema(StrictSchema):
    """Whether to check and preview a broadcast without storing it."""

    dry_run = fields.Boolean(
        load_default=False,
        metadata={"description": "Check the request and show what it would do. Nothing is stored"},
    )


class InvalidSchema(Schema):
    """An entry of `to` to which nothing would be sent."""

    position = fields.Integer(required=True, metadata={"description": "Counted from 0"})
    reason = fields.String(required=True)


class PartField(fields.Field[Part]):
    """One message as the provider would get it."""

    def _serialize(self, value: Part | None, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        match value:
            case Text():
                return {"type": "text", "text": value.body}
            case Media():
                file = {"attachment_id": value.attachment_id, "filename": value.filename}
                return {"type": value.kind.value, **file, "text": value.caption}
            case Location():
                place = {"lat": value.latitude, "lng": value.longitude, "name": value.name}
                return {"type": "location", **place}
            case ContactCard():
                return {"type": "contact", "name": value.name, "vcard": value.vcard}
            case Template():
                named = {"name": value.name, "language": value.language}
                return {"type": "template", **named, "components": value.components}
            case _:
                return None


class PreviewedMessageSchema(Schema):
    """What one recipient would get."""

    recipient = fields.String(required=True)
    variables = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    parts = fields.List(PartField(metadata={"type": "object"}), required=True)


class SegmentsSchema(Schema):
    """How many SMS segments the texts take."""

    total = fields.Integer(required=True)
    most = fields.Integer(required=True, metadata={"description": "For one recipient, at most"})


class CostSchema(Schema):
    """What a broadcast would cost by the session's `prices`."""

    amount = fields.String(required=True, metadata={"description": "A decimal number"})
    currency = fields.String(required=True)
    unpriced = fields.Integer(
        required=True, metadata={"description": "Recipients in countries without a price"}
    )


class WindowSchema(Schema):
    """How many people get which form of the message."""

    inside = fields.Integer(
        required=True, metadata={"description": "Wrote in the last 24 hours: get the free message"}
    )
    outside = fields.Integer(required=True, metadata={"description": "Get the template"})


class WayPreviewSchema(Schema):
    """What a step of the fallback would do if earlier ways reached nobody."""

    session_id = id_field()
    after = fields.String(required=True, metadata={"enum": list(StepCondition)})
    minutes = fields.Integer(required=True, allow_none=True)
    parts = fields.Integer(required=True)
    recipients = fields.Integer(required=True)
    skipped = fields.Integer(
        required=True,
        metadata={"description": "Recipients who have opted out, or whom the channel cannot reach"},
    )
    messages = fields.List(fields.Nested(PreviewedMessageSchema), required=True)
    cost = fields.Nested(CostSchema, required=True, allow_none=True)


class PreviewSchema(Schema):
    """What a broadcast would do."""

    session_id = id_field(attribute="plan.broadcast.session_id")
    entries = fields.Integer(required=True, metadata={"description": "Entries of `to`"})
    recipients = fields.Integer(
        required=True, metadata={"description": "Recipients to whom messages would be sent"}
    )
    duplicates = fields.Integer(required=True)
    invalid = fields.List(fields.Nested(InvalidSchema), required=True)
    opted_out = fields.List(fields.String(), required=True)
    countries = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    parts = fields.Integer(
        required=True,
        attribute="plan.broadcast.parts",
        metadata={"description": "Messages for each recipient"},
    )
    segments = fields.Nested(
        SegmentsSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null where the channel counts none"},
    )
    send_at = Moment(required=True, allow_none=True, attribute="plan.broadcast.send_at")
    expires_at = Moment(required=True, attribute="plan.broadcast.expires_at")
    begins_at = Moment(required=True, allow_none=True)
    estimate = fields.Nested(EstimateSchema, required=True)
    messages = fields.List(fields.Nested(PreviewedMessageSchema), required=True)
    cost = fields.Nested(CostSchema, required=True, allow_none=True)
    window = fields.Nested(
        WindowSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null unless the template is for people outside the window"},
    )
    fallback = fields.List(fields.Nested(WayPreviewSchema), required=True)
