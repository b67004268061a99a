"""The schema of the days and hours at which a broadcast or a session may send."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from service.core.hours import DAYS, RECIPIENT
from service.schemas.base import StrictSchema
from service.schemas.fields import Matches

_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
_END = f"{_TIME}|24:00"


class _Zone(fields.String):
    """The name of a time zone, such as `Africa/Lagos`, or `recipient`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        if name != RECIPIENT and name not in _zones():
            raise ValidationError(
                "Must be an IANA time zone, such as Africa/Lagos, or recipient for the zone of each"
                " recipient."
            )
        return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


class SendingWindowSchema(StrictSchema):
    """Days and hours of sending. Outside them deliveries wait."""

    begins = fields.String(
        required=True,
        data_key="from",
        attribute="from",
        validate=Matches(_TIME, "Must be a time such as 08:00."),
        metadata={"pattern": f"^({_TIME})$", "example": "08:00"},
    )
    ends = fields.String(
        required=True,
        data_key="to",
        attribute="to",
        validate=Matches(_END, "Must be a time such as 20:00, at most 24:00."),
        metadata={
            "description": "Before `from`: on the next day",
            "pattern": f"^({_END})$",
            "example": "20:00",
        },
    )
    days = fields.List(
        fields.String(validate=validate.OneOf(DAYS)),
        validate=validate.Length(min=1, max=len(DAYS)),
        metadata={
            "description": "The days on which it begins; left out: all",
            "example": ["mon", "tue", "wed", "thu", "fri"],
        },
    )
    zone = _Zone(
        required=True,
        metadata={
            "description": "An IANA time zone, or `recipient` for those of each recipient",
            "example": "Africa/Lagos",
        },
    )

    @validates_schema
    def has_a_length(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a window that ends at the time it begins."""
        if data["from"] == data["to"]:
            reason = "Must differ from `from`. For whole days use 00:00 and 24:00."
            raise ValidationError(reason, "to")
