"""Schemas of opt-outs."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from service.schemas.base import CredentialsSchema, Moment, Phone

_LONGEST = 100


class NewOptOutSchema(CredentialsSchema):
    """A person who wants no more messages."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"recipient": "12025550110"}

    recipient = Phone(
        required=True,
        validate=validate.Length(min=1, max=_LONGEST),
        metadata={
            "description": "A number in international form, or a WhatsApp group (`…@g.us`)",
            "example": "12025550110",
        },
    )


class OptOutSchema(Schema):
    """A person who wants no more messages from a session."""

    recipient = fields.String(required=True)
    since = Moment(required=True, attribute="created_at")
    reason = fields.String(
        required=True, metadata={"description": "The reason with which deliveries to them fail"}
    )
