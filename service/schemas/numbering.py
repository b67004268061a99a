"""How to read the numbers and columns of a list, in every request that names people."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate

from service.core import numbering
from service.schemas.base import StrictSchema

_MOST_COLUMNS = 100
_LONGEST = 100


class Region(fields.String):
    """A country by its ISO 3166 code, in upper or lower case."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        region = super()._deserialize(value, attr, data, **kwargs).strip().upper()
        if not numbering.is_region(region):
            raise ValidationError(
                f"{region[:40]!r} is no country: give a code such as NG, DE or US."
            )
        return region


class NumberingSchema(StrictSchema):
    """How to read numbers. Omitted fields are as the operator set them for the client."""

    default_region = Region(
        allow_none=True,
        metadata={
            "description": "The country of numbers without a country code, such as `NG`. Without it"
            " every number is an international one",
            "example": "NG",
        },
    )
    regions = fields.List(
        Region(),
        allow_none=True,
        validate=validate.Length(max=250),
        metadata={
            "description": "The countries that numbers may be of; others are not valid",
            "example": ["NG", "GH"],
        },
    )


def columns() -> fields.Dict:
    """Return the field that names columns of a file."""
    return fields.Dict(
        keys=fields.String(validate=validate.Length(min=1, max=_LONGEST)),
        values=fields.String(validate=validate.Length(min=1, max=_LONGEST)),
        validate=validate.Length(max=_MOST_COLUMNS),
        allow_none=True,
        metadata={
            "description": "Columns of the file by their headings or letters: `to` has the numbers,"
            " any other name is that of a value",
            "example": {"to": "Phone", "name": "First name"},
        },
    )
