"""Schemas of a broadcast's report and a delivery's history."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.models import BroadcastStatus
from service.schemas.counts import CountsSchema, PointSchema
from service.schemas.deliveries import DeliverySchema, LoggedDeliverySchema
from service.schemas.fallbacks import BroadcastWaySchema
from service.schemas.fields import Moment, id_field


class ReasonSchema(Schema):
    """A group of deliveries that ended for the same reason."""

    status = fields.String(required=True, metadata={"enum": ["failed", "uncertain"]})
    code = fields.String(required=True, allow_none=True)
    count = fields.Integer(required=True, attribute="number")
    reason = fields.String(
        required=True, allow_none=True, metadata={"description": "That of the first of them"}
    )
    examples = fields.List(
        fields.String(), required=True, metadata={"description": "The first recipients"}
    )


class DayCountSchema(Schema):
    """The recipients of one day, by the clock of the window; without a window, by UTC."""

    date = fields.Date(required=True)
    recipients = fields.Integer(required=True, attribute="number")


class EstimateSchema(Schema):
    """When a broadcast will end, at the rate of the last minute."""

    ends_at = Moment(
        required=True,
        allow_none=True,
        metadata={"description": "Null where it cannot be told: `reason` says why"},
    )
    expiring = fields.Integer(
        required=True,
        metadata={"description": "Deliveries that will not have been sent by `expires_at`"},
    )
    reason = fields.String(required=True, allow_none=True)
    days = fields.List(
        fields.Nested(DayCountSchema),
        required=True,
        metadata={"description": "When its session has a daily limit; else empty"},
    )


class BroadcastCostSchema(Schema):
    """The cost of a broadcast, at its session's current prices."""

    currency = fields.String(required=True)
    expected = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "If every recipient gets it; null where that cannot be told, as for"
            " personal SMS, which differ in length"
        },
    )
    charged = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Of the deliveries that are billable by the provider's receipts so far;"
            " null: no receipt has said how it charges"
        },
    )
    unpriced = fields.Integer(
        required=True, metadata={"description": "Recipients in countries without a price"}
    )


class ChargeSchema(Schema):
    """How many deliveries the provider charges in the same way."""

    pricing = fields.String(required=True, metadata={"example": "PMP regular marketing billable"})
    deliveries = fields.Integer(required=True)


class ReportSchema(Schema):
    """The progress of a broadcast."""

    broadcast_id = id_field(attribute="id")
    status = fields.String(required=True, metadata={"enum": list(BroadcastStatus)})
    reason = fields.String(
        required=True, allow_none=True, metadata={"description": "Why it waits or has stopped"}
    )
    counts = fields.Nested(CountsSchema, required=True)
    reasons = fields.List(
        fields.Nested(ReasonSchema),
        required=True,
        metadata={"description": "Why deliveries failed or are uncertain, the commonest first"},
    )
    ways = fields.List(fields.Nested(BroadcastWaySchema), required=True)
    timeline = fields.List(
        fields.Nested(PointSchema),
        required=True,
        metadata={"description": "At most 120 points, for a chart"},
    )
    rate = fields.Float(
        required=True, metadata={"description": "Deliveries a second, over the last minute"}
    )
    estimate = fields.Nested(EstimateSchema, required=True)
    replies = fields.Integer(required=True)
    cost = fields.Nested(
        BroadcastCostSchema,
        required=True,
        allow_none=True,
        metadata={"description": "Null if the session has no `prices`"},
    )
    charges = fields.List(
        fields.Nested(ChargeSchema),
        required=True,
        metadata={"description": "How the provider charges deliveries, as its receipts say"},
    )


class HistoryEntrySchema(Schema):
    """Something that happened to a delivery."""

    at = Moment(required=True)
    what = fields.String(
        required=True,
        metadata={
            "description": "For programs: accepted, scheduled, sending, retrying, held, sent,"
            " delivered, read, failed, uncertain, cancelled, ended, retried, reopened, rescued,"
            " passed_on"
        },
    )
    text = fields.String(required=True, metadata={"description": "The same for people"})
    code = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)
    part = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Which part of the message it was about, counted from 0"},
    )
    next_attempt_at = Moment(required=True, allow_none=True, data_key="nextAttemptAt")
    session_id = id_field(allow_none=True)


class DeliveryWaySchema(DeliverySchema):
    """The result of one way for a delivery."""

    class Meta(DeliverySchema.Meta):
        exclude = ("id", "broadcast_id", "recipient", "variables")

    step = fields.Integer(
        required=True, metadata={"description": "0 for the session of the broadcast"}
    )
    session_id = id_field(allow_none=True)


class DeliveryHistorySchema(LoggedDeliverySchema):
    """A delivery, the message that was sent, and its history."""

    ways = fields.List(
        fields.Nested(DeliveryWaySchema),
        required=True,
        metadata={"description": "The ways that it has taken, in order; the last one counts"},
    )
    history = fields.List(fields.Nested(HistoryEntrySchema), required=True)
