"""Schemas of tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from service.core import tokens
from service.core.tokens import Scope
from service.schemas.base import CredentialsSchema, LenientSchema
from service.schemas.fields import Moment, Name, created, id_field, object_id, updated, version


def _days() -> fields.Integer:
    return fields.Integer(
        strict=True,
        load_default=tokens.USUAL_DAYS,
        validate=validate.Range(min=1, max=tokens.MOST_DAYS),
        metadata={"description": "Days after which it expires"},
    )


def _overlap(usual: int) -> fields.Integer:
    about = "Seconds for which the former token stays valid"
    return fields.Integer(
        strict=True,
        load_default=usual,
        validate=validate.Range(min=0, max=tokens.MOST_OVERLAP),
        metadata={"description": about},
    )


class NewTokenSchema(CredentialsSchema, LenientSchema):
    """A new token of the client."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"name": "shop", "scope": "send", "days": 90}

    name = Name(required=True)
    scope = fields.Enum(Scope, by_value=True, load_default=Scope.SEND)
    days = _days()


class RotationSchema(CredentialsSchema, LenientSchema):
    """How a token is replaced."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"overlap": 3600, "days": 90}

    overlap = _overlap(tokens.USUAL_OVERLAP)
    days = _days()


class NewSessionTokenSchema(CredentialsSchema, LenientSchema):
    """How the token of a session is replaced."""

    overlap = _overlap(0)
    days = _days()


class TokenSchema(Schema):
    """A token of the client or of one of its sessions, without its secret."""

    id = object_id()
    name = fields.String(required=True)
    prefix = fields.String(required=True, metadata={"description": "Its first characters"})
    scope = fields.String(
        required=True,
        allow_none=True,
        metadata={"enum": [*Scope, None], "description": "null: the token of a session"},
    )
    session_id = id_field(allow_none=True)
    status = fields.String(
        required=True,
        metadata={
            "enum": ["valid", "expiring", "expired", "revoked"],
            "description": "`expiring`: it expires within 30 days",
        },
    )
    replaced_by = id_field(allow_none=True)
    last_used_at = Moment(
        required=True,
        allow_none=True,
        data_key="lastUsedAt",
        metadata={"description": "Up to ten minutes before its last use; null: never"},
    )
    expires_at = Moment(
        required=True,
        allow_none=True,
        data_key="expiresAt",
        metadata={"description": "null: never"},
    )
    revoked_at = Moment(required=True, allow_none=True, data_key="revokedAt")
    created_at = created()
    updated_at = updated()
    version = version()


class NewlyMadeTokenSchema(TokenSchema):
    """A new token and its secret."""

    access_token = fields.String(
        required=True, metadata={"description": "The token itself; it is not shown again"}
    )
