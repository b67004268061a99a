"""Schemas of sessions."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from phonenumbers import SUPPORTED_REGIONS

from service.core import vault
from service.models import OnUncertain, SessionStatus
from service.schemas.base import CredentialsSchema, LenientSchema, StrictSchema, WholeSchema
from service.schemas.fields import (
    Flag,
    Matches,
    Moment,
    Name,
    created,
    id_field,
    object_id,
    seen_version,
    updated,
    version,
)
from service.schemas.hours import SendingWindowSchema

_SLOWEST = 0.001
_FASTEST = 10_000
_MOST_ATTEMPTS = 100
_MOST_UNDER_WAY = 10_000
_DEAREST = 1_000
_LONGEST_JITTER = 3_600
_MOST_PEOPLE = 1_000_000


class JitterSchema(StrictSchema):
    """The range from which the seconds between two messages of a session are chosen at random."""

    least = fields.Float(
        required=True,
        data_key="from",
        attribute="from",
        validate=validate.Range(min=0, max=_LONGEST_JITTER),
        metadata={"example": 5},
    )
    most = fields.Float(
        required=True,
        data_key="to",
        attribute="to",
        validate=validate.Range(min=0, max=_LONGEST_JITTER, min_inclusive=False),
        metadata={"example": 15},
    )

    @validates_schema
    def is_in_order(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a maximum below the minimum."""
        if data["to"] < data["from"]:
            raise ValidationError("Must not be less than `from`.", "to")


class PricesSchema(StrictSchema):
    """The price of a message, by the country of its recipient."""

    currency = fields.String(
        required=True,
        validate=Matches("[A-Z]{3}", "Must be three letters, such as USD."),
        metadata={"pattern": "^[A-Z]{3}$", "example": "USD"},
    )
    countries = fields.Dict(
        keys=fields.String(
            validate=validate.OneOf(
                [*SUPPORTED_REGIONS, "*"],
                error="Must be a country such as NG, or * for the others.",
            )
        ),
        values=fields.Float(validate=validate.Range(min=0, max=_DEAREST)),
        required=True,
        metadata={
            "description": "Countries by their two letters, `*` for all others",
            "example": {"NG": 0.0516, "*": 0.1},
        },
    )


class _SessionFields(CredentialsSchema):
    """The optional fields."""

    rate = fields.Float(
        allow_none=True,
        validate=validate.Range(min=_SLOWEST, max=_FASTEST),
        metadata={"description": "Most provider messages per second; null: no limit"},
    )
    jitter = fields.Nested(
        JitterSchema,
        allow_none=True,
        metadata={"description": "Seconds to wait between two messages, at random; null: none"},
    )
    daily_limit = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(min=1, max=_MOST_PEOPLE),
        metadata={"description": "Most different people in any 24 hours; null: no limit"},
    )
    limit_group = Name(
        allow_none=True,
        metadata={
            "description": "Sessions with the same word here share their daily limit; null: none"
        },
    )
    concurrency = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(min=1, max=_MOST_UNDER_WAY),
        metadata={
            "description": "Most messages that each process sends at the same time; null: the"
            " channel's default"
        },
    )
    max_attempts = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(min=1, max=_MOST_ATTEMPTS),
        metadata={"description": "Most attempts per delivery; null: `MAX_ATTEMPTS`"},
    )
    prices = fields.Nested(
        PricesSchema,
        allow_none=True,
        metadata={"description": "What a message costs, for dry runs and reports"},
    )
    window = fields.Nested(
        SendingWindowSchema,
        allow_none=True,
        metadata={"description": "Send on these days and hours only; null: at all times"},
    )
    on_uncertain = fields.String(
        validate=validate.OneOf(list(OnUncertain)),
        metadata={
            "description": "What to do if it is unknown whether the provider has a message: `hold`"
            " waits for a receipt or for you, `resend` risks a second copy"
        },
    )
    is_default = Flag(
        data_key="default",
        metadata={"description": "Whether requests that name no session use it"},
    )


class NewSessionSchema(_SessionFields, LenientSchema):
    """A new sending account."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"name": "trial", "channel": "sandbox", "settings": {}}

    name = Name(required=True)
    channel = fields.String(required=True, metadata={"example": "sandbox"})
    settings = fields.Dict(
        keys=fields.String(), metadata={"description": "The channel's settings and credentials"}
    )


class SecretNames(fields.List[str]):
    """The names of the stored secrets, never their values."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields.String(), **kwargs)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return super()._serialize(vault.names(value), attr, obj, **kwargs)


class SessionSchema(Schema):
    """A sending account: a channel, its credentials and its rate."""

    id = object_id()
    name = fields.String(required=True)
    channel = fields.String(required=True)
    settings = fields.Dict(required=True)
    secrets = SecretNames(
        required=True,
        metadata={"description": "Names of the stored secrets; their values are never returned"},
    )
    rate = fields.Float(required=True, allow_none=True)
    jitter = fields.Nested(JitterSchema, required=True, allow_none=True)
    daily_limit = fields.Integer(required=True, allow_none=True)
    limit_group = fields.String(required=True, allow_none=True)
    concurrency = fields.Integer(required=True, allow_none=True)
    max_attempts = fields.Integer(required=True, allow_none=True)
    on_uncertain = fields.String(required=True, metadata={"enum": list(OnUncertain)})
    prices = fields.Nested(PricesSchema, required=True, allow_none=True)
    window = fields.Nested(SendingWindowSchema, required=True, allow_none=True)
    is_default = fields.Boolean(required=True, data_key="default")
    status = fields.String(required=True, metadata={"enum": list(SessionStatus)})
    reason = fields.String(
        required=True, allow_none=True, metadata={"description": "Why it cannot send"}
    )
    held_until = Moment(
        required=True,
        allow_none=True,
        attribute="throttled_until",
        data_key="heldUntil",
        metadata={"description": "When it is tried again; null if `blocked` until you change it"},
    )
    health = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        allow_none=True,
        metadata={"description": "What the provider reported last of its quality and limits"},
    )
    has_token = fields.Boolean(
        required=True, metadata={"description": "Whether it has a token of its own"}
    )
    client_id = id_field()
    created_at = created()
    updated_at = updated()
    version = version()


class SessionChangeSchema(_SessionFields, WholeSchema):
    """The fields to change. Omitted fields and omitted secrets stay."""

    SHOWN = SessionSchema
    EXAMPLE: ClassVar[dict[str, Any]] = {"rate": 20, "default": True}

    name = Name()
    channel = fields.String(metadata={"description": "Cannot be changed"})
    settings = fields.Dict(keys=fields.String())
    version = seen_version()


def _own_token() -> fields.String:
    about = "The session token; it is not shown again"
    return fields.String(required=True, metadata={"description": about})


class SessionTokenSchema(SessionSchema):
    """A sending account and its new token."""

    access_token = _own_token()


class CheckedSessionSchema(SessionSchema):
    """A sending account and the result of a check with its provider."""

    problem = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Why it cannot send, or why that is not known; null: no problem. If the"
            " provider does not answer in time, `status` stays as it was, even `ready`"
        },
    )


class NewlyMadeSessionSchema(CheckedSessionSchema):
    """A new sending account and its token."""

    access_token = _own_token()
