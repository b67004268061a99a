"""Schemas of the content of messages."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from service.schemas.base import LenientSchema
from service.schemas.fields import ID_PATTERN, Flag, is_id

_LATITUDE = r" *[+-]?([0-8]?[0-9](\.[0-9]{1,20})?|90(\.0{1,20})?) *"


_LONGITUDE = r" *[+-]?((1[0-7][0-9]|[0-9]{1,2})(\.[0-9]{1,20})?|180(\.0{1,20})?) *"


_LONGEST_PLACE = 1_000


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


def message_truncated_field() -> fields.Boolean:
    """Return the field that says whether a message was cut."""
    about = "Whether a list shows only the beginning of the message"
    return fields.Boolean(required=True, metadata={"description": about})
