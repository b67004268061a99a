"""Schemas of broadcasts."""

from __future__ import annotations

from typing import Any, ClassVar

from flask_smorest.fields import Upload
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.core.fallbacks import MOST as MOST_STEPS
from service.core.placeholders import Syntax
from service.models import BroadcastStatus, DeliveryStatus, OnInvalid, SendType
from service.schemas.base import CredentialsSchema, LenientSchema, WholeSchema
from service.schemas.counts import CountsSchema
from service.schemas.fallbacks import BroadcastWaySchema, FallbackStepSchema, ShownStepSchema
from service.schemas.fields import (
    Flag,
    Matches,
    Moment,
    created,
    id_field,
    object_id,
    seen_version,
    updated,
    version,
)
from service.schemas.hours import SendingWindowSchema
from service.schemas.messages import MessageSchema, message_truncated_field
from service.schemas.numbering import NumberingSchema, columns
from service.schemas.recipients import ABOUT_TO, MOST_CODES, RECIPIENTS, AudienceSchema, Recipients

_LARGEST_SAMPLE = 1_000_000


class BroadcastOrderSchema(NumberingSchema, CredentialsSchema, LenientSchema):
    """A message and its recipients."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "session_id": "",
        "access_token": "",
        "send_type": "individual",
        "to": "12025550110,12025550111",
        "message": {
            "text": "New Test Broadcasts text",
            "attachments": [],
            "location": {"name": "optional", "lat": "6.556452", "lng": "3.2774487"},
            "contactId": "",
        },
    }

    send_type = fields.String(required=True, validate=validate.OneOf(list(SendType)))
    to = Recipients(
        metadata={
            "oneOf": RECIPIENTS,
            "description": ABOUT_TO,
            "example": "12025550110,12025550111",
        },
    )
    on_invalid = fields.String(
        allow_none=True,
        validate=validate.OneOf(list(OnInvalid)),
        metadata={
            "description": "`reject`: refuse the request if an entry is not valid. `skip`: send to"
            " the others; invalid entries become deliveries that failed with the code `invalid`."
            " Omitted: `reject`"
        },
    )
    confirm_countries = Flag(
        metadata={
            "description": "Send although the numbers look like national ones that have lost their"
            " zero"
        }
    )
    columns = columns()
    message = fields.Nested(MessageSchema, required=True)
    personalise = Flag(
        metadata={
            "description": "Read placeholders in the message, such as `{{name}}`. They are read too"
            " where a recipient has `variables`"
        }
    )
    syntax = fields.String(
        allow_none=True,
        validate=validate.OneOf(list(Syntax)),
        metadata={
            "description": "How placeholders are written: `braces` for `{{name}}` and"
            " `{{name|there}}`, `guide` for `[name]` and `{Hi|Hello}`; left out: `braces`"
        },
    )
    variables = fields.Dict(
        keys=fields.String(),
        metadata={
            "description": "Values for the recipients who have none of their own",
            "additionalProperties": {"type": ["string", "number", "null"]},
        },
    )
    sample = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(min=1, max=_LARGEST_SAMPLE),
        metadata={
            "description": "Send to so many random recipients, then pause; resume to send to the"
            " others"
        },
    )
    window = fields.Nested(
        SendingWindowSchema,
        allow_none=True,
        metadata={"description": "Send on these days and hours only; so must the session's allow"},
    )
    fallback = fields.List(
        fields.Nested(FallbackStepSchema),
        allow_none=True,
        validate=validate.Length(max=MOST_STEPS),
        metadata={
            "description": "The ways that follow, in order: who is not reached by the session gets"
            " the message through the next one",
            "example": [
                {"session_id": "64a00ec7c5e487d95dcb0d5e", "after": "undelivered", "minutes": 120}
            ],
        },
    )
    send_at = Moment(
        allow_none=True, metadata={"description": "When to start, with a time zone; empty: now"}
    )
    expires_at = Moment(allow_none=True, metadata={"description": "When unsent deliveries fail"})


class BroadcastRequestSchema(BroadcastOrderSchema):
    """A message, and its recipients or those of an earlier broadcast."""

    audience = fields.Nested(
        AudienceSchema, metadata={"description": "In place of `to`: recipients of a broadcast"}
    )

    @validates_schema
    def has_recipients(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a request with two lists of recipients. A file may be one of them: see `lists`."""
        if "to" in data and "audience" in data:
            raise ValidationError("Cannot be sent together with `to`.", "audience")


class BroadcastFormSchema(Schema):
    """The form with a file of recipients. It only documents the form; nothing loads it."""

    broadcast = fields.Nested(
        BroadcastRequestSchema,
        metadata={"description": "JSON without `to`; or its fields by themselves"},
    )
    recipients = Upload(
        required=True, metadata={"description": "CSV, TSV, XLSX, ODS, XLS, NDJSON or VCF"}
    )


class IdempotencySchema(Schema):
    """The header that makes a repeated request safe."""

    key = fields.String(
        data_key="Idempotency-Key",
        validate=Matches("[ -~]{0,255}", "Must be at most 255 printable ASCII characters."),
        metadata={
            "description": "Any string. Repeating the same request with the same key creates only"
            " one broadcast",
            "pattern": "^[ -~]{0,255}$",
        },
    )


class RetrySchema(CredentialsSchema, LenientSchema):
    """Which deliveries to send again."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"statuses": ["failed"]}

    statuses = fields.List(
        fields.String(validate=validate.OneOf([DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN])),
        load_default=lambda: [DeliveryStatus.FAILED],
        validate=validate.Length(min=1, max=2),
        metadata={
            "description": "`failed`, `uncertain` or both; default: `failed`. A person whose"
            " delivery is uncertain may get the message twice",
            "default": [DeliveryStatus.FAILED],
        },
    )
    codes = fields.List(
        fields.String(validate=validate.Length(max=1_000)),
        validate=validate.Length(max=MOST_CODES),
        load_default=list,
        metadata={
            "description": "Only deliveries that ended with one of these codes; an empty string is"
            " no code. Default: all codes"
        },
    )
    expires_at = Moment(
        allow_none=True,
        metadata={
            "description": "When unsent deliveries fail. Default: `EXPIRE_AFTER` from now, or when"
            " the broadcast expires, whichever is later"
        },
    )


class BroadcastSchema(Schema):
    """One message to many recipients. The arrays show the first ones; `counts` is complete."""

    client_id = id_field()
    send_type = fields.String(required=True, metadata={"enum": list(SendType)})
    to = fields.Raw(required=True, metadata={"oneOf": RECIPIENTS})
    message = fields.Dict(required=True, metadata={"description": "As it was given"})
    status = fields.String(required=True, metadata={"enum": list(BroadcastStatus)})
    sent = fields.List(fields.String(), required=True)
    pending = fields.List(fields.String(), required=True)
    failed = fields.List(fields.String(), required=True)
    id = object_id()
    created_at = created()
    updated_at = updated()
    version = version()
    counts = fields.Nested(CountsSchema, required=True)
    session_id = id_field(allow_none=True)
    countries = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": "Recipients by country", "example": {"NG": 2}},
    )
    default_region = fields.String(required=True, allow_none=True)
    regions = fields.List(fields.String(), required=True)
    on_invalid = fields.String(required=True, metadata={"enum": list(OnInvalid)})
    to_truncated = fields.Boolean(
        required=True, metadata={"description": "Whether `to` shows only the first recipients"}
    )
    message_truncated = message_truncated_field()
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it is paused or cancelled, or what it waits for"},
    )
    window = fields.Nested(SendingWindowSchema, required=True, allow_none=True)
    fallback = fields.List(fields.Nested(ShownStepSchema), required=True)
    ways = fields.List(fields.Nested(BroadcastWaySchema), required=True)
    send_at = Moment(required=True, allow_none=True)
    expires_at = Moment(required=True)
    closed_at = Moment(required=True, allow_none=True, data_key="completedAt")
    replies = fields.Integer(
        required=True, metadata={"description": "How many replies to it have come"}
    )
    personalise = fields.Boolean(
        required=True, metadata={"description": "Whether placeholders in the message are read"}
    )
    syntax = fields.String(required=True, allow_none=True, metadata={"enum": [*Syntax, None]})
    variables = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    deleted_at = Moment(
        required=True,
        allow_none=True,
        data_key="deletedAt",
        metadata={"description": "When it was deleted; those are shown to who asks for them"},
    )
    audience = fields.Nested(
        AudienceSchema,
        required=True,
        allow_none=True,
        metadata={"description": "The earlier broadcast that the recipients are from"},
    )
    sample = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Recipients after whom it pauses; null once it was resumed"},
    )


class LeftOutSchema(Schema):
    """How many deliveries a retry left unchanged, by reason."""

    opted_out = fields.Integer(
        required=True, metadata={"description": "To people who have opted out"}
    )
    unreachable_by_channel = fields.Integer(
        required=True,
        metadata={
            "description": "To addresses that the channel of the session does not take, such as a"
            " WhatsApp user id by SMS"
        },
    )


class RetriedSchema(BroadcastSchema):
    """A broadcast after a retry."""

    left_out = fields.Nested(LeftOutSchema, required=True)


class BroadcastChangeSchema(BroadcastOrderSchema, WholeSchema):
    """The fields to change. Omitted fields stay."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"message": {"text": "Another text"}}
    SHOWN = BroadcastSchema

    version = seen_version()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(partial=("send_type", "to", "message"), **kwargs)
