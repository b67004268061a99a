"""Schemas of deliveries."""

from __future__ import annotations

from marshmallow import fields

from service.models import DeliveryStatus
from service.schemas.base import StrictSchema
from service.schemas.fields import Derived, Moment, created, id_field, object_id, updated
from service.schemas.messages import message_truncated_field


class DeliverySchema(StrictSchema):
    """One broadcast for one recipient."""

    id = object_id()
    broadcast_id = id_field()
    recipient = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": list(DeliveryStatus)})
    attempts = fields.Integer(
        required=True, metadata={"description": "Attempts since the last retry"}
    )
    code = fields.String(
        required=True, allow_none=True, metadata={"description": "The reason, for programs"}
    )
    reason = fields.String(
        required=True, allow_none=True, metadata={"description": "The reason, for people"}
    )
    message_ids = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "The provider's message ids of the accepted parts"},
    )
    next_attempt_at = Moment(required=True, allow_none=True, data_key="nextAttemptAt")
    sent_at = Moment(required=True, allow_none=True, data_key="sentAt")
    delivered_at = Moment(required=True, allow_none=True, data_key="deliveredAt")
    read_at = Moment(required=True, allow_none=True, data_key="readAt")
    updated_at = updated()
    variables = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "Values for the message's placeholders for this recipient"},
    )
    pricing = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "How the provider charges it: WhatsApp's model, type and category, and"
            " `billable` or `free`",
            "example": "PMP regular marketing billable",
        },
    )


class LoggedDeliverySchema(DeliverySchema):
    """A delivery and its message."""

    number = Derived(
        lambda delivery: delivery.recipient,
        required=True,
        metadata={"description": "The guide's word for `recipient`"},
    )
    client_id = id_field()
    session_id = id_field(allow_none=True)
    message = fields.Dict(required=True, metadata={"description": "As it was given"})
    message_truncated = message_truncated_field()
    created_at = created()
