"""The settings of a session at an SMSC."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from service.channels.drivers.smpp import reports
from service.channels.settings import BaseUrl
from service.channels.sms import segments
from service.channels.sms.messages import SmsSettings


def _word(most: int, **options: Any) -> fields.String:
    """Return a field of ASCII characters that SMPP ends with a NUL."""
    message = f"Must have up to {most} printable ASCII characters."
    return fields.String(
        validate=validate.Regexp(rf"[ -~]{{0,{most}}}\Z", error=message), **options
    )


def _number(most: int) -> fields.Integer:
    return fields.Integer(load_default=None, allow_none=True, validate=validate.Range(0, most))


class Settings(SmsSettings):
    """An account at an SMSC."""

    class Meta:
        exclude = ("webhook_token",)

    base_url = BaseUrl(
        ("smpp", "smpps"),
        required=True,
        metadata={"description": "The SMSC, such as smpp://smsc.example:2775; smpps is over TLS"},
    )
    system_id = _word(15, required=True)
    password = _word(8, load_default="", metadata={"secret": True, "description": "For the bind"})
    system_type = _word(12, load_default="")
    service_type = _word(5, load_default="")
    language = fields.String(
        load_default="",
        validate=validate.OneOf(["", *segments.LANGUAGES]),
        metadata={"description": "A language whose characters the carrier passes on in GSM-7"},
    )
    receipts = fields.Boolean(load_default=True, metadata={"description": "Ask for receipts"})
    receipt_ids = fields.String(
        load_default="same",
        validate=validate.OneOf(list(reports.RECEIPT_IDS)),
        metadata={
            "description": "How receipts write an id: as the response did, or in `decimal` or"
            " `hex` where the response has the other one"
        },
    )
    source_ton, source_npi = _number(6), _number(18)
    destination_ton, destination_npi = _number(6), _number(18)
