"""Schemas of broadcasts and deliveries."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from flask_smorest.fields import Upload
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.core.placeholders import Syntax
from service.core.recipients import Given
from service.models import BroadcastStatus, DeliveryStatus, OnInvalid, SendType
from service.schemas.base import (
    ID_PATTERN,
    CredentialsSchema,
    Derived,
    Flag,
    LenientSchema,
    Matches,
    Moment,
    StrictSchema,
    WholeSchema,
    created,
    id_field,
    is_id,
    object_id,
    seen_version,
    updated,
    version,
)
from service.schemas.hours import SendingWindowSchema
from service.schemas.numbering import NumberingSchema, columns

_LATITUDE = r" *[+-]?([0-8]?[0-9](\.[0-9]{1,20})?|90(\.0{1,20})?) *"
_LONGITUDE = r" *[+-]?((1[0-7][0-9]|[0-9]{1,2})(\.[0-9]{1,20})?|180(\.0{1,20})?) *"
_LONGEST_PLACE = 1_000
_LONGEST_CODE = 100
_MOST_CODES = 100
_LARGEST_SAMPLE = 1_000_000
_MOST_CODES = 100
_RECIPIENTS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "integer"},
    {
        "type": "array",
        "items": {
            "oneOf": [
                {"type": ["string", "integer"]},
                {
                    "type": "object",
                    "properties": {
                        "to": {"type": ["string", "integer"]},
                        "variables": {
                            "type": "object",
                            "additionalProperties": {"type": ["string", "number", "null"]},
                        },
                    },
                    "required": ["to"],
                    "additionalProperties": False,
                },
            ]
        },
    },
]

_ABOUT_TO = (
    "Phone numbers in international form; for `group`, ids of groups. A number may contain `+`,"
    " `00`, spaces, dashes, dots, brackets and `(0)`. It may use the digits of any script, be an"
    " integer, or look like `tel:+1-202-555-0110`, `https://wa.me/12025550110` or"
    " `12025550110@c.us`. In a string, commas, semicolons and line ends separate entries."
    " Deliveries show only the digits"
)


class Coordinate(fields.Field[str | float]):
    """Decimal degrees, as a number or a string such as `"6.556452"`. The value is kept as given.

    `pattern` is the pattern of the strings, `most` the largest number.
    """

    def __init__(self, pattern: str, most: int, **kwargs: Any) -> None:
        either = [
            {"type": "string", "pattern": f"^{pattern}$"},
            {"type": "number", "minimum": -most, "maximum": most},
        ]
        super().__init__(metadata={"oneOf": either}, **kwargs)
        self._pattern = re.compile(pattern)
        self._most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        del attr, data, kwargs
        if isinstance(value, str):
            is_fine = self._pattern.fullmatch(value) is not None
        else:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            is_fine = is_number and abs(value) <= self._most
        if not is_fine:
            raise ValidationError(f"Must be decimal degrees from -{self._most} to {self._most}.")
        return value


class Recipients(fields.Field[Given]):
    """A string with separators, a number, or a list of these and of objects; not parsed here.

    There may be a million entries. `core.recipients` reads them, once.
    """

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        del attr, data, kwargs
        # Exactly these: to Python `True` is a number.
        kinds = {*map(type, value)} - {dict} if isinstance(value, list) else {type(value)}
        if not all(kind in {str, int} or issubclass(kind, float) for kind in kinds):
            raise ValidationError(
                "Must be a string with commas between recipients, or a list of strings and objects"
                " with `to` and `variables`."
            )
        return value


class LocationSchema(LenientSchema):
    """A location on the map."""

    name = fields.String(validate=validate.Length(max=_LONGEST_PLACE))
    lat = Coordinate(_LATITUDE, 90, required=True)
    lng = Coordinate(_LONGITUDE, 180, required=True)


class TemplateSchema(LenientSchema):
    """A message template that the provider has approved (WhatsApp Cloud API)."""

    name = fields.String(required=True, validate=validate.Length(min=1, max=512))
    language = fields.String(required=True, validate=validate.Length(min=2, max=16))
    components = fields.List(
        fields.Dict(keys=fields.String()),
        metadata={"description": "Its parameters, in the provider's own JSON"},
    )
    tidy = Flag(
        metadata={
            "description": "Replace each run of spaces, tabs and line breaks in its parameters with"
            " one space. WhatsApp accepts no line breaks, no tabs and at most four spaces in a row"
        }
    )
    when = fields.String(
        validate=validate.OneOf(["always", "outside_window"]),
        metadata={
            "description": "`outside_window`: people who wrote to the session in the last 24 hours"
            " get the rest of the message instead, which must be one part, such as a text"
        },
    )
    marketing = Flag(metadata={"description": "Send it by WhatsApp's API for marketing messages"})


class MessageSchema(LenientSchema):
    """The content of a message: at least one of these fields."""

    text = fields.String(
        allow_none=True,
        metadata={
            "description": "WhatsApp counts UTF-16 units; an emoji has two or more. The Cloud API"
            " accepts 4,096. Up to 1,024 become the caption of the first image, video or document"
        },
    )
    attachments = fields.List(
        fields.String(validate=is_id, metadata={"pattern": ID_PATTERN}),
        allow_none=True,
        metadata={"description": "Ids of attachments, sent in this order"},
    )
    file = fields.String(
        allow_none=True,
        validate=is_id,
        metadata={
            "description": "Id of one more attachment, as the guide's client sends it",
            "pattern": ID_PATTERN,
        },
    )
    location = fields.Nested(LocationSchema, allow_none=True)
    contactId = fields.String(  # noqa: N815 - the guide writes it so
        allow_none=True,
        validate=is_id,
        metadata={
            "description": "Id of a contact, to send as a contact card",
            "pattern": ID_PATTERN,
        },
    )

    template = fields.Nested(TemplateSchema, allow_none=True)
    category = fields.String(
        allow_none=True,
        validate=validate.OneOf(["utility"]),
        metadata={
            "description": "Send the text by WhatsApp's Direct Send, outside a conversation and"
            " without a template, for accounts that may"
        },
    )

    @validates_schema
    def say_something(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse an empty message."""
        if not any(data.values()):
            raise ValidationError(f"Needs at least one of {', '.join(self.fields)}.")


class AudienceSchema(LenientSchema):
    """Recipients of an earlier broadcast. Without `statuses`, `codes` and `replied`: all."""

    broadcast = fields.String(
        required=True, validate=is_id, metadata={"pattern": ID_PATTERN, "description": "Its id"}
    )
    statuses = fields.List(
        fields.String(validate=validate.OneOf(list(DeliveryStatus))),
        validate=validate.Length(max=len(DeliveryStatus)),
        metadata={"description": "States of their deliveries"},
    )
    codes = fields.List(
        fields.String(validate=validate.Length(min=1, max=_LONGEST_CODE)),
        validate=validate.Length(max=_MOST_CODES),
        metadata={"description": "Codes of their deliveries, such as `not_on_channel`"},
    )
    replied = Flag(metadata={"description": "Whether they have replied to it"})


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
            "oneOf": _RECIPIENTS,
            "description": _ABOUT_TO,
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
        """Refuse a request with two lists of recipients. A file may be one, too: see `lists`."""
        if "to" in data and "audience" in data:
            raise ValidationError("Cannot be sent together with `to`.", "audience")


class BroadcastFormSchema(Schema):
    """The form with a file of recipients; for its description alone, it is never loaded."""

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
        validate=validate.Length(max=_MOST_CODES),
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


def _message_truncated() -> fields.Boolean:
    about = "Whether a list shows only the beginning of the message"
    return fields.Boolean(required=True, metadata={"description": about})


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


class BroadcastSchema(Schema):
    """One message to many recipients. The arrays show the first ones; `counts` is complete."""

    client_id = id_field()
    send_type = fields.String(required=True, metadata={"enum": list(SendType)})
    to = fields.Raw(required=True, metadata={"oneOf": _RECIPIENTS})
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
    message_truncated = _message_truncated()
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it is paused or cancelled, or what it waits for"},
    )
    window = fields.Nested(SendingWindowSchema, required=True, allow_none=True)
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


class BroadcastChangeSchema(BroadcastOrderSchema, WholeSchema):
    """The fields to change. Omitted fields stay."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"message": {"text": "Another text"}}
    SHOWN = BroadcastSchema

    version = seen_version()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(partial=("send_type", "to", "message"), **kwargs)


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
    message_truncated = _message_truncated()
    created_at = created()
