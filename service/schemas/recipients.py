"""Schemas of recipients: `to`, or those of an earlier broadcast."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate

from service.core.entries import Given
from service.models import DeliveryStatus
from service.schemas.base import LenientSchema
from service.schemas.fields import ID_PATTERN, Flag, is_id

_LONGEST_CODE = 100


MOST_CODES = 100


RECIPIENTS: list[dict[str, Any]] = [
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


ABOUT_TO = (
    "Phone numbers in international form; for `group`, ids of groups. A number may contain `+`,"
    " `00`, spaces, dashes, dots, brackets and `(0)`. It may use the digits of any script, be an"
    " integer, or look like `tel:+1-202-555-0110`, `https://wa.me/12025550110` or"
    " `12025550110@c.us`. In a string, commas, semicolons and line ends separate entries."
    " Deliveries show only the digits"
)


class Recipients(fields.Field[Given]):
    """A string with separators, a number, or a list of these and of objects. It is not parsed here.

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
        validate=validate.Length(max=MOST_CODES),
        metadata={"description": "Codes of their deliveries, such as `not_on_channel`"},
    )
    replied = Flag(metadata={"description": "Whether they have replied to it"})
