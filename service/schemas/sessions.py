"""What may be said about a session, and what is answered."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from service.core import vault
from service.models import OnUncertain, SessionStatus
from service.schemas.base import (
    CredentialsSchema,
    Flag,
    LenientSchema,
    Moment,
    Name,
    created,
    id_field,
    object_id,
    seen_version,
    updated,
    version,
)

_SLOWEST = 0.001
_FASTEST = 10_000
_MOST_ATTEMPTS = 100
_MOST_UNDER_WAY = 10_000


class _SessionFields(CredentialsSchema):
    """What can be set and left out alike."""

    rate = fields.Float(
        allow_none=True,
        validate=validate.Range(min=_SLOWEST, max=_FASTEST),
        metadata={"description": "Provider messages a second; null: no limit of ours"},
    )
    concurrency = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(min=1, max=_MOST_UNDER_WAY),
        metadata={
            "description": "Messages under way at once, in each process; null: the channel's own"
            " number"
        },
    )
    max_attempts = fields.Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(min=1, max=_MOST_ATTEMPTS),
        metadata={"description": "Attempts per delivery; null: the service's own number"},
    )
    on_uncertain = fields.String(
        validate=validate.OneOf(list(OnUncertain)),
        metadata={
            "description": "What becomes of a delivery that the provider may or may not have"
            " taken: `hold` waits for a receipt or for you, `resend` risks a second copy"
        },
    )
    is_default = Flag(
        data_key="default",
        metadata={"description": "Whether it is used where a request names no session"},
    )


class NewSessionSchema(_SessionFields, LenientSchema):
    """A sending account to be stored."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"name": "trial", "channel": "sandbox", "settings": {}}

    name = Name(required=True)
    channel = fields.String(required=True, metadata={"example": "sandbox"})
    settings = fields.Dict(
        keys=fields.String(), metadata={"description": "What the channel needs: its credentials"}
    )


class SessionChangeSchema(_SessionFields):
    """What is to be changed; what is left out stays, secrets among the settings too."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"rate": 20, "default": True}

    name = Name()
    channel = fields.String(metadata={"description": "Cannot be changed"})
    settings = fields.Dict(keys=fields.String())
    version = seen_version()


class SecretNames(fields.List[str]):
    """The names of the secrets that are set; never the secrets."""

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
        required=True, metadata={"description": "Which secrets are set; they never come back"}
    )
    rate = fields.Float(required=True, allow_none=True)
    concurrency = fields.Integer(required=True, allow_none=True)
    max_attempts = fields.Integer(required=True, allow_none=True)
    on_uncertain = fields.String(required=True, metadata={"enum": list(OnUncertain)})
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
        metadata={"description": "When it is tried again; null with `blocked`: when it is changed"},
    )
    has_token = fields.Boolean(
        required=True, metadata={"description": "Whether it has a token of its own"}
    )
    client_id = id_field()
    created_at = created()
    updated_at = updated()
    version = version()


def _own_token() -> fields.String:
    about = "The session's own token: it is not shown again"
    return fields.String(required=True, metadata={"description": about})


class SessionTokenSchema(SessionSchema):
    """A sending account and its new token."""

    access_token = _own_token()


class CheckedSessionSchema(SessionSchema):
    """A sending account, and what its provider said of it just now."""

    problem = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "What keeps it from sending, in words, or why that cannot be told: a"
            " provider that does not answer in time leaves `status` as it was, be it `ready`; null:"
            " nothing"
        },
    )


class NewlyMadeSessionSchema(CheckedSessionSchema):
    """A sending account that was made just now, with its token."""

    access_token = _own_token()
