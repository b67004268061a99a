"""Schemas of fallbacks: the steps of a broadcast, and the results of its ways."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.models import StepCondition
from service.schemas.base import LenientSchema
from service.schemas.counts import CountsSchema
from service.schemas.fields import ID_PATTERN, id_field, is_id
from service.schemas.messages import MessageSchema

_LONGEST_WAIT = 10_080
"""Minutes of a week."""


class FallbackStepSchema(LenientSchema):
    """A session that sends the message to people whom earlier ways did not reach."""

    session_id = fields.String(
        required=True, validate=is_id, metadata={"pattern": ID_PATTERN, "description": "Its id"}
    )
    after = fields.String(
        required=True,
        validate=validate.OneOf(list(StepCondition)),
        metadata={
            "description": "`failed`: those whom the way before failed to reach. `undelivered`:"
            " also those of whom no receipt came within `minutes`"
        },
    )
    minutes = fields.Integer(
        strict=True,
        validate=validate.Range(min=1, max=_LONGEST_WAIT),
        metadata={"description": "With `undelivered`: how long to wait for a receipt"},
    )
    message = fields.Nested(
        MessageSchema, metadata={"description": "Another message for this way; left out: the same"}
    )

    @validates_schema
    def has_minutes(self, data: dict[str, Any], **_: Any) -> None:
        """Require minutes if the step waits for something, and refuse them if it does not."""
        waits = data.get("after") == StepCondition.UNDELIVERED
        if waits and "minutes" not in data:
            raise ValidationError("Needed with `undelivered`: how long to wait.", "minutes")
        if not waits and "minutes" in data:
            raise ValidationError("Only with `undelivered`: a failure needs no wait.", "minutes")


class ShownStepSchema(Schema):
    """A step of a fallback."""

    session_id = id_field()
    after = fields.String(required=True, metadata={"enum": list(StepCondition)})
    minutes = fields.Integer()
    message = fields.Dict(metadata={"description": "As it was given"})


class BroadcastWaySchema(Schema):
    """How many deliveries a way took over, and their results."""

    step = fields.Integer(required=True, metadata={"description": "Counted from 1"})
    session_id = id_field(allow_none=True)
    counts = fields.Nested(CountsSchema, required=True)
